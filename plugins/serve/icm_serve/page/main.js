// What the page does: a file comes in, the service codes and decodes it, and what came of it is shown.

import { card, named, shown, unasked } from "./answers.js";
import { count, make, the } from "./elements.js";
import { Refused, ask } from "./service.js";
import { Viewer } from "./viewer.js";

const PATIENCE = 250; // ms between a move of a slider and the request for it
const ORIGINAL = "original";
const CODECS = { jpeg: "JPEG", webp: "WebP" };

let models = [];
let limits = null;
let given = null; // {name, file, coded}: what the person gave; coded if it is an .icm file
let running = new AbortController();
let timer = 0;
let urls = [];
let shows = new Set(); // what the picture shows: tasks that learned from pictures of other things alone are not asked
const USUALLY = "objects";
let answer = null; // asks the tasks of the file that is there, once more

const ready = begin();
const viewer = new Viewer((choice, error) => {
  if (choice.id !== ORIGINAL) return complain(error);
  complain(new Refused("This browser cannot show the original's format; the service reads it all the same."));
  return viewer.left.choose(viewer.right.select.value);
});

async function begin() {
  [models, limits] = await Promise.all(["models", "limits"].map(async (path) => (await ask(path)).json()));
  the("model").replaceChildren(...models.map(({ name }) => make("option", { value: name, textContent: name })));
  the("models").hidden = models.length < 2;
  adjust();
}

const model = () => models.find(({ name }) => name === the("model").value) ?? models[0];

// Controls as the chosen model has them.
function adjust() {
  const { name, description, qualities, enhancement, searches } = model();
  const [low, high] = qualities;
  const quality = the("quality");
  const before = quality.max ? Number(quality.value) : 3;
  Object.assign(quality, { min: low, max: high, step: high - low > 12 ? 1 : 0.25 });
  quality.value = Math.min(high, Math.max(low, before));
  the("enhancement-setting").hidden = enhancement === null;
  the("effort-setting").hidden = !searches || !limits.effort;
  the("effort").max = limits.effort;
  the("says").textContent = description || name;
  label();
}

function label() {
  const steps = Number(the("effort").value);
  the("quality-says").textContent = the("quality").value;
  the("effort-says").textContent = steps ? `${steps} steps` : "off";
}

// A file that was dropped, picked or pasted.
async function take(file) {
  await ready;
  const magic = new TextDecoder("latin1").decode(await file.slice(0, 3).arrayBuffer());
  const before = [given, shows];
  const mine = { name: file.name || "picture", file, coded: magic === "ICM" };
  open(mine, new Set([USUALLY]));
  if (!(await work()) && given === mine) open(...before); // what cannot be used does not take the place of what can
}

function open(file, showing) {
  given = file;
  shows = showing;
  the("start").hidden = file !== null;
  the("work").hidden = file === null;
  the("settings").disabled = file?.coded ?? false;
  label();
}

// All that follows from the file and the settings; whether it went well. A later call ends an earlier one.
async function work() {
  clearTimeout(timer);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const busy = (text) => {
    document.body.classList.toggle("busy", text !== "");
    the("work").setAttribute("aria-busy", String(text !== ""));
    if (text) the("status").textContent = text;
  };
  the("error").hidden = true;
  try {
    const { source, note } = given.coded ? { source: null, note: "" } : await sized(given.file);
    if (signal.aborted) return true;
    if ((source ?? given.file).size > limits.bytes) {
      throw new Refused(`The file has ${count((source ?? given.file).size)} bytes; this service takes ${count(limits.bytes)}.`);
    }
    busy(given.coded ? "Decoding…" : "Encoding…");
    const start = performance.now();
    const blob = given.coded ? given.file : await encoded(source, signal);
    const middle = performance.now();
    const name = given.coded ? undefined : model().name;
    const info = await (await ask("info", { body: blob, values: { model: name }, signal })).json();
    showFile(info, blob, source);
    const seconds = (from, to) => `${((to - from) / 1000).toFixed(1)} s`;
    const before = given.coded ? [] : [`encoded in ${seconds(start, middle)}`];
    answer = async () => {
      const begun = performance.now();
      busy("Decoding…");
      const { tasks, left } = askable(info);
      const values = { model: info.pipeline, pictures: true, draw: true };
      if (left.length) values.tasks = tasks.map(({ name }) => name).join(",");
      const found = await (await ask("decode", { body: blob, values, signal })).json();
      await showAnswers(found, left, info, source, signal);
      if (signal.aborted) return;
      busy("");
      const times = [...before, `decoded in ${seconds(begun, performance.now())}`];
      the("status").textContent = `${times.join(", ")}.${note}`.replace(/^./, (letter) => letter.toUpperCase());
    };
    await answer();
    return true;
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return true;
    busy("");
    the("status").textContent = "";
    complain(error);
    return false;
  }
}

// The tasks of a file's model that are asked, and those that are left out.
function askable(info) {
  const there = new Set(info.layers.map(({ kind }) => kind));
  const able = models
    .find(({ name }) => name === info.pipeline)
    .tasks.filter(({ whole_file: whole }) => !whole || there.has("enhancement"));
  const fits = ({ trained_on: learned }) => !learned?.pictures || shows.has(learned.pictures);
  return { tasks: able.filter(fits), left: able.filter((task) => !fits(task)) };
}

// A person says that the picture shows something that a task was trained on.
function tell(pictures) {
  shows.add(pictures);
  the("error").hidden = true;
  answer().catch((error) => {
    if (error.name === "AbortError") return;
    the("work").setAttribute("aria-busy", "false");
    document.body.classList.remove("busy");
    the("status").textContent = "";
    complain(error);
  });
}

async function encoded(source, signal) {
  const values = {
    model: model().name,
    quality: the("quality").value,
    enhancement: the("enhancement").checked,
    effort: the("effort-setting").hidden ? 0 : the("effort").value,
  };
  return (await ask("encode", { body: source, values, signal })).blob();
}

// The picture, scaled down where it has more pixels than the person wants, and a note that says so.
async function sized(file) {
  const most = 1e6 * Number(the("size").value);
  if (!most) return { source: file, note: "" };
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return { source: file, note: "" }; // what this browser does not read, the service may
  }
  const { width, height } = bitmap;
  const scale = Math.sqrt(most / (width * height));
  if (scale >= 1) return { source: file, note: "" };
  const canvas = make("canvas", { width: Math.max(1, Math.round(scale * width)), height: Math.max(1, Math.round(scale * height)) });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // under transparency, as the service has it
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const source = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return { source, note: ` It was scaled from ${width}×${height} before it was coded.` };
}

function showFile(info, blob, source) {
  const { bytes, bpp, height, width, layers, overhead_bytes: overhead, quality, pipeline } = info;
  the("name").textContent = `${given.name}, ${width}×${height}`;
  the("bytes").textContent = count(bytes);
  the("bpp").textContent = bpp.toFixed(3);
  const parts = [...layers.map(({ kind, bytes: size }) => ({ kind, size })), { kind: "headers", size: overhead }];
  const tint = (number) => `tint-${number === parts.length - 1 ? 2 : number % 2}`;
  the("bar").replaceChildren(
    ...parts.map(({ size }, number) => {
      const part = make("span", { className: tint(number) });
      part.style.flex = `${size} 0 0`;
      return part;
    }),
  );
  the("bar").setAttribute("aria-label", `Layers: ${parts.map(({ kind, size }) => `${kind} ${count(size)} bytes`).join(", ")}`);
  the("layers").replaceChildren(
    ...parts.map(({ kind, size }, number) =>
      make("li", { className: tint(number) }, make("span", { textContent: kind }), `${count(size)} bytes`),
    ),
  );
  if (given.coded) {
    the("quality-says").textContent = `${quality}, when the file was made`;
    the("model").value = pipeline;
  }
  keep(the("download"), "href", blob);
  const stem = given.name.replace(/\.[^.]*$/, "") || "picture";
  the("download").download = `${stem}.icm`;
  the("yardsticks").hidden = source === null;
}

async function showAnswers(found, left, info, source, signal) {
  const tasks = models.find(({ name }) => name === info.pipeline).tasks.filter(({ name }) => name in found.tasks);
  const old = new Set(urls);
  const choices = [];
  if (source !== null) {
    const url = remember(source);
    const its = source === given.file ? `original, ${count(source.size)} bytes` : "original";
    choices.push({ id: ORIGINAL, group: "Given", label: "Original", load: async () => ({ url, caption: its }) });
  }
  const cards = [];
  for (const task of tasks) {
    const row = found.tasks[task.name];
    const data = shown(task, row);
    const url = data && remember(blobOf(data));
    const id = `task ${task.name}`;
    const needed = `${count(task.whole_file ? info.bytes : info.base_bytes)} bytes`;
    if (url) {
      const caption = `${task.name}, from ${needed}`;
      choices.push({ id, group: task.is_picture ? "Decoded" : "Answers", label: task.name, load: async () => ({ url, caption }) });
    }
    if (!task.is_picture) cards.push(card(task, row, url, [...named(task), `from ${needed}`].join(", "), () => look(id)));
  }
  for (const task of left) cards.push(unasked(task, () => tell(task.trained_on.pictures)));
  if (source !== null) {
    for (const [codec, title] of Object.entries(CODECS)) {
      choices.push({ id: codec, group: "At the same bytes", label: title, load: yardstick(codec, title, info.bytes, source, signal) });
    }
  }
  the("cards").replaceChildren(...cards);
  const pictures = choices.filter(({ group }) => group === "Decoded").map(({ id }) => id);
  const first = source !== null ? ORIGINAL : (pictures[0] ?? choices[0]?.id);
  const last = pictures.at(-1) ?? choices.find(({ id }) => id !== ORIGINAL)?.id ?? first;
  await viewer.offer(choices, info.width, info.height, first, last);
  old.forEach((url) => URL.revokeObjectURL(url));
  urls = urls.filter((url) => !old.has(url));
}

// Loads another codec's picture when it is first looked at.
function yardstick(codec, title, bytes, source, signal) {
  let loaded = null;
  const load = async () => {
    const response = await ask("compare", { body: source, values: { codec, bytes }, signal });
    const blob = await response.blob();
    const quality = response.headers.get("X-Icm-Codec-Quality");
    const more = blob.size > bytes ? `, its smallest; the .icm has ${count(bytes)}` : `, quality ${quality}`;
    return { url: remember(blob), caption: `${title}, ${count(blob.size)} bytes${more}` };
  };
  return () => (loaded ??= load().catch((error) => { loaded = null; throw error; }));
}

function look(id) {
  viewer.right.choose(id);
  the("stage").parentElement.scrollIntoView({ block: "nearest" });
  the("cut").focus({ preventScroll: true });
}

// A data URL as bytes; not by fetch, which the page's policy keeps to the service.
function blobOf(data) {
  const [head, body] = data.split(",");
  const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5, head.indexOf(";")) });
}

function remember(blob) {
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return url;
}

function keep(element, property, blob) {
  if (element[property]) URL.revokeObjectURL(element[property]);
  element[property] = URL.createObjectURL(blob);
}

function complain(error) {
  if (!(error instanceof Refused)) console.error(error);
  the("sentence").textContent = error instanceof Refused ? error.message : "This page has failed; the browser's console says how.";
  the("error").hidden = false;
}

const soon = () => {
  label();
  clearTimeout(timer);
  if (given && !given.coded) timer = setTimeout(work, PATIENCE);
};

for (const id of ["quality", "effort"]) the(id).addEventListener("input", soon);
for (const id of ["enhancement", "size"]) the(id).addEventListener("change", soon);
the("model").addEventListener("change", () => { adjust(); soon(); });
the("dismiss").addEventListener("click", () => { the("error").hidden = true; });
the("again").addEventListener("click", () => the("file").click());
the("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // the same file may be picked again
  if (file) take(file);
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (!file) return; // text, for the token
  event.preventDefault();
  take(file);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    const [file] = kind === "drop" ? event.dataTransfer.files : [];
    if (file) take(file);
  });
}

ready.catch(complain);
