// Two pictures on one place, and a border between them.

import { make, the } from "./elements.js";

// A side shows one of the choices: {id, group, label, caption, load}, where `load` gives {url, caption} when it is wanted.
class Side {
  constructor(name, failed) {
    this.select = the(name);
    this.image = the(`${name}-image`);
    this.caption = the(`${name}-caption`);
    this.failed = failed;
    this.choices = [];
    this.turn = 0;
    this.ratio = 1;
    this.select.addEventListener("change", () => this.show());
  }

  // `refined` takes the place of an answer that is no longer there, `fallback` that of anything else.
  offer(choices, fallback, refined) {
    const before = this.select.value;
    this.choices = choices;
    const groups = new Map();
    for (const { id, group, label } of choices) {
      if (!groups.has(group)) groups.set(group, make("optgroup", { label: group }));
      groups.get(group).append(make("option", { value: id, textContent: label }));
    }
    this.select.replaceChildren(...groups.values());
    const there = choices.some(({ id }) => id === before);
    this.select.value = there ? before : before.startsWith("task ") ? refined : fallback;
    return this.show();
  }

  choose(id) {
    this.select.value = id;
    return this.show();
  }

  async show() {
    const choice = this.choices.find(({ id }) => id === this.select.value);
    const turn = ++this.turn;
    if (!choice) return;
    try {
      const { url, caption } = await choice.load();
      const image = await loaded(url);
      if (turn !== this.turn) return;
      this.image.src = url;
      this.image.alt = choice.label;
      this.caption.textContent = caption;
      // Where the picture itself ends: drawings may have a legend below it, which the border does not cut.
      const bottom = (100 * this.ratio * image.naturalWidth) / image.naturalHeight;
      this.image.style.setProperty("--bottom", `${Math.min(100, bottom)}%`);
    } catch (error) {
      if (turn === this.turn && error.name !== "AbortError") this.failed(choice, error);
    }
  }
}

// An image that is there; not by its decode(), which waits for as long as nobody looks at the tab.
function loaded(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("the browser cannot show a picture"));
    image.src = url;
  });
}

export class Viewer {
  constructor(failed) {
    this.stage = the("stage");
    this.left = new Side("left", failed);
    this.right = new Side("right", failed);
    this.cut = the("cut");
    this.cut.addEventListener("input", () => this.move());
    this.move();
  }

  move() {
    this.stage.style.setProperty("--cut", `${this.cut.value}%`);
    this.cut.setAttribute("aria-valuetext", `${this.cut.value} percent of the width show the left picture`);
  }

  offer(choices, width, height, left, right) {
    this.stage.style.setProperty("--ratio", String(width / height));
    this.stage.classList.toggle("coarse", width < 320);
    this.left.ratio = this.right.ratio = height / width;
    return Promise.all([this.left.offer(choices, left, right), this.right.offer(choices, right, right)]);
  }
}
