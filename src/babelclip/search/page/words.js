// The texts of the page in the reader's language, and names, numbers and dates as that language writes them.

import { make, memory, one } from "./dom.js";

let all = {};
let tag = "en";

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/;

/** Load the texts, and take the first language of the browser that they are in; a choice made earlier goes first. */
export async function loadWords() {
  try {
    all = await (await fetch(new URL("words.json", document.baseURI))).json();
  } catch {
    return; // the page stays in English, and the next request tells what is wrong
  }
  const liked = [memory.get("words") ?? "", ...(navigator.languages ?? [])].map((wish) => wish.split("-")[0]);
  use(liked.find((wish) => wish in all) ?? "en");
  one("interface").replaceChildren(
    ...Object.entries(all).map(([key, words]) => make("option", { value: key, lang: key }, words.name)),
  );
  one("interface").value = tag;
}

export function choose(wish) {
  memory.set("words", wish);
  use(wish);
}

function use(wish) {
  tag = wish;
  document.documentElement.lang = tag;
  document.documentElement.dir = all[tag].dir;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-placeholder]"))
    element.placeholder = t(element.dataset.tPlaceholder);
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
    if (element.localName === "button") element.title = t(element.dataset.tLabel);
  }
}

/** A text, with `{name}` replaced. Values in the other direction of writing are isolated. */
export function t(key, values = {}) {
  const text = all[tag]?.[key] ?? all.en?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? isolate(String(values[name])) : whole));
}

function isolate(value) {
  const rtl = all[tag]?.dir === "rtl";
  return rtl || RIGHT_TO_LEFT.test(value) ? `\u2068${value}\u2069` : value;
}

/** What a language is called in the language of the page; else what the server calls it. */
export function languageName(code, name = code) {
  if (tag === "en") return name;
  try {
    return new Intl.DisplayNames([tag], { type: "language", fallback: "none" }).of(code) ?? name;
  } catch {
    return name;
  }
}

export const number = (value, digits = 0) =>
  value.toLocaleString(tag, { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const percent = (share) => share.toLocaleString(tag, { style: "percent" });

/** Dates are shown as the index knows them; it takes the time of a camera for UTC. */
export function date(text) {
  const when = new Date(text);
  if (Number.isNaN(when.getTime())) return text;
  return when.toLocaleString(tag, { dateStyle: "long", timeStyle: "short", timeZone: "UTC" });
}

/** Seconds as m:ss, from one hour on as h:mm:ss. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
