// All that the page says to the server. Addresses are relative: the page also works below a path of a proxy.

/** `kind` is "gone" (no answer), "token" (401) or "server"; `message` is the server's own text, or empty. */
export class Problem extends Error {
  constructor(kind, message = "", status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

const place = (path) => new URL(path, document.baseURI);
const named = (folder, id) => place(`${folder}/${encodeURIComponent(id)}`).href;

export const thumbnail = (id) => named("thumbnail", id);
export const original = (id) => named("original", id);

function refused(status, body) {
  return new Problem(status === 401 ? "token" : "server", typeof body?.error === "string" ? body.error : "", status);
}

async function ask(path, options = {}) {
  let response, body;
  try {
    response = await fetch(place(path), { headers: { Accept: "application/json" }, ...options });
    body = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("gone");
  }
  try {
    body = JSON.parse(body);
  } catch {
    body = null;
  }
  if (!response.ok || body === null) throw refused(response.status, body);
  return body;
}

export const health = () => ask("health");
export const languages = async () => (await ask("languages")).languages;

/** Search. `wanted` are URLSearchParams; `image` is a file or null. */
export function find(wanted, image, signal) {
  if (!image) return ask(`search?${wanted}`, { signal });
  const form = new FormData();
  form.append("image", image, image.name || "picture");
  for (const [name, value] of wanted) form.append(name, value);
  return ask("search", { method: "POST", body: form, signal });
}

/** Install a pack; `progress` is called with shares of 1. Only XMLHttpRequest reports uploads. */
export function install(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", place("languages"));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(new Problem("gone"));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300 && request.response) resolve(request.response);
      else reject(refused(request.status, request.response));
    };
    request.send(file);
  });
}
