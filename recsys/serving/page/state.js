// What the parts of the page share: who is looked at, and word of what happened.

const bus = new EventTarget();

export const state = { about: null, user: null, model: "" };

/** Listen: "user" (somebody else is looked at), "said" (feedback), "edited" (the profile), "open" (an item). */
export const on = (name, work) => bus.addEventListener(name, (event) => work(event.detail));
export const tell = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
