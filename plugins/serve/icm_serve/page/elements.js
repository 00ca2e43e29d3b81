// Small helpers. Text goes into the page as text only, never as HTML.

export const the = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const whole = new Intl.NumberFormat("en");

export const count = (number) => whole.format(number);

export const short = (number) => (Number.isInteger(number) ? whole.format(number) : String(Number(number.toPrecision(4))));
