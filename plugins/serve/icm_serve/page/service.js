// Requests to the service that this page came from.

import { the } from "./elements.js";

const KEPT = "icm-token";
let asked = null;

// One sentence for the person at the page.
export class Refused extends Error {}

// A response that is in order. `values` stand in the address, undefined ones do not.
export async function ask(path, { body, values = {}, signal } = {}) {
  const address = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) address.searchParams.set(name, value);
  }
  for (;;) {
    const token = sessionStorage.getItem(KEPT);
    const headers = token === null ? {} : { Authorization: `Bearer ${bytewise(token)}` };
    const response = await reach(address, { method: body === undefined ? "GET" : "POST", body, headers, signal });
    if (response.ok) return response;
    if (response.status !== 401) throw new Refused(await sentence(response));
    await tokenFromPerson(token);
  }
}

async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The service does not answer; it may have stopped, or the connection is gone.");
  }
}

async function sentence(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string") return `${error[0].toUpperCase()}${error.slice(1)}.`;
  } catch {
    // no JSON: something between here and the service has answered
  }
  return `The service answers with status ${response.status}.`;
}

// Headers hold bytes: other letters go as those of UTF-8, which is what the service compares.
const bytewise = (text) => String.fromCharCode(...new TextEncoder().encode(text));

// Waits until the person has given another token than the one that did not do; several requests wait for one answer.
function tokenFromPerson(tried) {
  if (sessionStorage.getItem(KEPT) !== tried) return Promise.resolve();
  asked ??= new Promise((resolve) => {
    the("gate-wrong").hidden = tried === null;
    the("token").value = "";
    the("gate").oncancel = (event) => event.preventDefault();
    the("gate-form").onsubmit = () => {
      sessionStorage.setItem(KEPT, the("token").value.trim());
      asked = null;
      resolve();
    };
    the("gate").showModal();
  });
  return asked;
}
