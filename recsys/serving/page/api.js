// Requests to the server this page came from; a key is asked for when one is needed, and kept for this tab alone.

import { ask } from "./dom.js";

const KEY = "recsys-key";

export class Fault extends Error {
  constructor(status, told) {
    super(told.cause);
    this.status = status;
    this.told = told;
  }
}

const about = (values) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) for (const one of [value].flat()) query.append(name, one);
  return query.toString();
};

let asking = null; // one question at a time, however many requests want the key

const askForKey = (refused) => (asking ??= ask({
  heading: refused ? "The server does not know that key" : "This server needs a key", yes: "Use it", label: "Key",
  secret: true, words: "Changes need one, and so does what is known of a person. It is kept until this tab is closed.",
}).finally(() => (asking = null)));

async function send(method, path, query, body, signal) {
  const address = query && Object.keys(query).length ? `${path}?${about(query)}` : path;
  for (let tries = 0; ; tries++) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...(body ? { "content-type": "application/json" } : {}), ...(key ? { "x-api-key": key } : {}) };
    let answer;
    try {
      answer = await fetch(address, { method, headers, signal, body: body ? JSON.stringify(body) : undefined });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Fault(0, { thing: "the server", cause: "cannot be reached", remedy: "Is it running? Try again." });
    }
    if (answer.ok) return answer;
    if (answer.status === 401 && tries < 3) {
      if (sessionStorage.getItem(KEY) !== key) continue; // given meanwhile
      const given = await askForKey(Boolean(key));
      if (given) {
        sessionStorage.setItem(KEY, given.trim());
        continue;
      }
    }
    const told = await answer.json().then((found) => found.error).catch(() => null);
    throw new Fault(answer.status, told ?? { thing: path, cause: `answered ${answer.status}`, remedy: "Try again." });
  }
}

export const get = async (path, query, signal) => (await send("GET", path, query, null, signal)).json();
export const post = async (path, body, signal) => (await send("POST", path, null, body, signal)).json();
export const remove = async (path, query) => (await send("DELETE", path, query)).json();
export const download = async (path, query) => (await send("GET", path, query)).blob();

/** A random key: feedback sent twice with the same one is kept once. */
export const once = () => [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16).padStart(2, "0")).join("");

/** Keep only the latest of several requests: an earlier one that is still on its way is dropped. */
export function latest() {
  let controller = null;
  return async (work) => {
    controller?.abort();
    const mine = (controller = new AbortController());
    const found = await work(mine.signal);
    if (mine.signal.aborted) throw new DOMException("overtaken", "AbortError");
    return found;
  };
}
