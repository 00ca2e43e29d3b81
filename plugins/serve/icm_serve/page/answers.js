// Answers of tasks as cards. Nothing here knows what kinds there are: the service says what can be shown, and how.

import { make, short } from "./elements.js";

// The kind of a task whose name does not say it already.
export const named = ({ name, kind }) => (name === kind ? [] : [kind]);

const APART = new Set(["kind", "text", "picture", "drawing"]);
const ROWS = 50;
const ITEMS = 8;

// The picture of an answer that a person would look at, as a data URL, or undefined.
export function shown(task, row) {
  if (task.is_picture) return row.picture;
  return task.in_words ? undefined : (row.drawing ?? row.picture);
}

// A card of one task; `look` is called when its picture is chosen.
export function card(task, row, url, note, look) {
  const parts = [
    make("header", {}, make("h3", { textContent: task.name }), make("small", { textContent: note })),
  ];
  if (url) {
    const image = make("img", { src: url, alt: row.text || `${task.name}, a ${task.kind}` });
    const button = make("button", { type: "button", className: "look", title: "Compare it with the original" }, image);
    button.addEventListener("click", look);
    button.setAttribute("aria-label", `Compare ${task.name} with the original`);
    parts.push(button);
  }
  if (row.text) parts.push(make("p", { className: url ? "text" : "text large", textContent: row.text }));
  const tables = Object.entries(row).filter(([key]) => !APART.has(key));
  if (tables.length) {
    const scroll = make("div", { className: "scroll", tabIndex: 0 }, ...tables.map(([key, value]) => table(key, value)));
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", `Numbers of ${task.name}`);
    parts.push(make("details", { open: task.in_words }, make("summary", { textContent: "In numbers" }), scroll));
  }
  return make("article", { className: "card" }, ...parts);
}

// A card of a task that was skipped, for it learned from pictures of other things; `ask` is called when a person wants
// its answer all the same.
export function unasked(task, ask) {
  const { data, pictures } = task.trained_on;
  const why = `Skipped: it was trained on pictures of ${pictures} (${data}), and its answers for other pictures mean little.`;
  const button = make("button", { type: "button", className: "button", textContent: `It shows ${pictures}: run it` });
  button.setAttribute("aria-label", `The picture shows ${pictures}: run ${task.name}`);
  button.addEventListener("click", ask);
  const head = make("header", {}, make("h3", { textContent: task.name }), make("small", { textContent: named(task).join("") }));
  return make("article", { className: "card" }, head, make("p", { className: "text", textContent: why }), button);
}

function table(key, value) {
  const list = Array.isArray(value) && value.length && value.every((one) => one && typeof one === "object" && !Array.isArray(one));
  if (!list) return make("table", {}, make("tr", {}, make("th", { textContent: key, scope: "row" }), cell(value)));
  const columns = [...new Set(value.flatMap(Object.keys))];
  const shares = new Set(columns.filter((column) => isShare(value.map((one) => one[column]))));
  const head = columns.map((column) =>
    make("th", {
      textContent: column,
      scope: "col",
      className: shares.has(column) ? "number share" : typeof value[0][column] === "number" ? "number" : "",
    }),
  );
  const rows = value.slice(0, ROWS).map((one) => make("tr", {}, ...columns.map((column) => cell(one[column], shares.has(column)))));
  if (value.length > ROWS) rows.push(make("tr", {}, make("td", { colSpan: columns.length, textContent: `and ${value.length - ROWS} more` })));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

// Whether numbers are parts of one, such as probabilities, so that a bar says something.
const isShare = (values) =>
  values.every((value) => typeof value === "number" && value >= 0 && value <= 1) && values.some((value) => !Number.isInteger(value));

function cell(value, share = false) {
  const found = make("td", { textContent: words(value), className: typeof value === "number" ? "number" : "" });
  if (share) {
    found.classList.add("share");
    found.style.setProperty("--share", `${100 * value}%`);
  }
  return found;
}

function words(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return short(value);
  if (Array.isArray(value)) {
    const more = value.length > ITEMS ? ` … ${value.length} in all` : "";
    return value.slice(0, ITEMS).map(words).join(", ") + more;
  }
  return typeof value === "object" ? Object.entries(value).map(([key, one]) => `${key} ${words(one)}`).join(", ") : String(value);
}
