// What is searched for, as a plain object, and the address that says the same.

export const PAGE = 60;
export const MOST = 300;
export const FILTERS = ["minus", "kind", "folder", "since", "before"];
const WORDS = ["q", ...FILTERS, "like", "view"];

/** The state that an address holds; an image cannot stand in an address and comes from the history. */
export function readState(search, image = null) {
  const given = new URLSearchParams(search);
  const state = { language: given.get("language") || "auto", image, k: PAGE, lines: null };
  for (const name of WORDS) state[name] = given.get(name) ?? "";
  if (image) state.like = "";
  const lines = given.getAll("line").map((line) => {
    const at = line.indexOf(":");
    return { tag: line.slice(0, at), text: line.slice(at + 1) };
  });
  if (lines.length) state.lines = lines;
  return state;
}

/** The address of a state, without token. */
export function address(state) {
  const given = new URLSearchParams();
  for (const name of WORDS) if (state[name]) given.set(name, state[name]);
  if (state.language !== "auto") given.set("language", state.language);
  for (const line of state.lines ?? []) given.append("line", `${line.tag}:${line.text}`);
  const text = given.toString();
  return text ? `?${text}` : location.pathname;
}

/** Parameters of the search; null where there is nothing to search for. */
export function wanted(state) {
  if (!state.q.trim() && !state.like && !state.image) return null;
  const given = new URLSearchParams();
  if (state.q.trim()) given.set("q", state.q.trim());
  if (state.like) given.set("like", state.like);
  given.set("language", state.language);
  return withFilters(given, state, state.k);
}

export function withFilters(given, state, k) {
  given.set("k", k);
  for (const name of FILTERS) if (state[name].trim()) given.set(name, state[name].trim());
  return given;
}
