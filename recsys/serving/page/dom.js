// The little that the page needs to write to itself. What a server says is only ever written as text.

export const $ = (id) => document.getElementById(id);

/** Make an element. Children are elements or text; `on…` are listeners; no other way leads to markup. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key === "vars") for (const [name, one] of Object.entries(value)) element.style.setProperty(name, one);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), use = document.createElementNS(space, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that is an icon to the eye and words to everybody else. */
export function tool(name, words, onclick, attributes = {}) {
  return h("button", { type: "button", class: "tool", title: words, "aria-label": words, onclick, ...attributes }, icon(name));
}

export const picture = (item, width, alt = "") =>
  h("img", { class: "poster", alt, loading: "lazy", decoding: "async", width: 2, height: 3,
    src: `/v1/picture?item_id=${encodeURIComponent(item.item_id)}&width=${width}` });

export const text = (words, name = "span", attributes = {}) => h(name, { dir: "auto", ...attributes }, String(words));

export const title = (item) => item.title || item.item_id;

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Say something to those who listen rather than look. */
export function announce(words) {
  $("live").textContent = "";
  requestAnimationFrame(() => ($("live").textContent = words));
}

let timer = 0;

/** Say what was done, with a way back from it. */
export function toast(words, label = "", back = null) {
  const [line, button] = [$("toast").querySelector("p"), $("toast").querySelector("button")];
  line.textContent = words;
  button.hidden = !back;
  button.textContent = label;
  button.onclick = () => { $("toast").hidden = true; back?.(); };
  $("toast").hidden = false;
  announce(words);
  clearTimeout(timer);
  const leave = () => {
    if ($("toast").matches(":hover, :focus-within")) timer = setTimeout(leave, 4000);
    else $("toast").hidden = true;
  };
  timer = setTimeout(leave, 10000);
}

/** Show what failed, why, and what to do about it, until it is closed; the same fault is shown once. */
export function fault(error) {
  if (error.name === "AbortError") return;
  const { thing = "the page", cause = String(error.message || error), remedy = "" } = error.told ?? {};
  const words = `${thing}: ${cause}. ${remedy}`;
  for (const one of $("faults").children) if (one.dataset.words === words) one.remove();
  const box = h("div", { class: "fault", dataset: { words } },
    h("p", {}, text(thing, "b"), ": ", text(cause), /[.!?]$/.test(cause) ? " " : ". ", text(remedy, "span", { class: "quiet" })),
    tool("close", "Close this message", () => box.remove()));
  $("faults").append(box);
  while ($("faults").children.length > 3) $("faults").firstChild.remove();
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const working = new WeakMap(); // how much is under way in an element

/** Run `work` while an element is marked as busy; show what fails. */
export async function busy(element, work) {
  const count = (step) => {
    working.set(element, (working.get(element) ?? 0) + step);
    element.setAttribute("aria-busy", String(working.get(element) > 0));
  };
  count(1);
  try {
    return await work();
  } catch (error) {
    fault(error);
    return undefined;
  } finally {
    count(-1);
  }
}

export function later(wait, work) {
  let timer = 0;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), wait); };
}

/** Ask in a dialog; resolves to what was typed (or true), or null where the answer was no. */
export function ask({ heading, words, yes, label = "", secret = false, value = "" }) {
  const dialog = $("ask"), input = $("ask-input");
  $("ask-title").textContent = heading;
  $("ask-words").textContent = words;
  $("ask-yes").textContent = yes;
  $("ask-label").hidden = !label;
  $("ask-label").firstElementChild.textContent = label;
  input.type = secret ? "password" : "text";
  input.required = Boolean(label);
  input.value = value;
  dialog.returnValue = "";
  dialog.showModal();
  if (label) input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = input.value;
      input.value = "";
      resolve(dialog.returnValue === "yes" ? (label ? given : true) : null);
    }, { once: true });
  });
}
