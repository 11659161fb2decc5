// Elements made of texts alone: no name of a file is ever read as HTML.

export const one = (selector, within = document) => within.querySelector(selector);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const many = (number, thing) => `${grouped(number)} ${thing}${number === 1 ? "" : "s"}`;

export const grouped = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function tell(sentence) {
  const alert = one("dialog[open]") ? one("#viewer-alert") : one("#alert");
  alert.hidden = !sentence;
  alert.textContent = sentence || "";
  if (sentence) alert.scrollIntoView({ block: "nearest" });
}
