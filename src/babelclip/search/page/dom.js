// Small things for building the page. Texts go in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const one = (id) => document.getElementById(id);

/** An element with attributes (`onclick` and the like are listeners, `false` and `null` are left out) and children. */
export function make(name, given = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** One of the icons that index.html brings. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A round button that is only an icon; its name is read aloud and shown as a hint. */
export const iconButton = (name, label, onclick, more = {}) =>
  make("button", { type: "button", class: "round", "aria-label": label, title: label, onclick, ...more }, icon(name));

/** What localStorage holds, and nothing where it is switched off. */
export const memory = {
  get(name) {
    try {
      return localStorage.getItem(`babelclip.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null) localStorage.removeItem(`babelclip.${name}`);
      else localStorage.setItem(`babelclip.${name}`, value);
    } catch {
      // Then it is forgotten when the page is closed.
    }
  },
};
