// Filters: what is asked of the items, offered from what the items are.

import { get } from "./api.js";
import { $, h, later, text } from "./dom.js";

const KINDS = 3, VALUES = 30;
const SIGNS = { "": "", yes: "+ ", no: "− " };
let facets = []; // kinds with their values, as the service names them
const chosen = new Map(); // "genre:Drama" to "yes" or "no"
let learned = false, changed = () => {};

/** What to ask for: parameters of a request. */
export function filtering() {
  const filter = [...chosen].map(([name, how]) => (how === "no" ? `!${name}` : name));
  const [from, to] = ["year-from", "year-to"].map((id) => $(id).value.trim());
  if (from) filter.push(`year>=${from}`);
  if (to) filter.push(`year<=${to}`);
  const diversity = Number($("diversity").value);
  return { ...(filter.length ? { filter } : {}), ...(diversity ? { diversity } : {}) };
}

/** Learn what there is to filter by, once. */
export async function learn() {
  if (learned) return;
  learned = true;
  facets = await get("/v1/filters", { k: VALUES }).catch(() => { learned = false; return []; });
  draw();
}

/** What people may name in their own words. */
export const concepts = () => kinds().flatMap(([kind, values]) => values.map((value) => `${kind}:${value}`));

function kinds() {
  return facets.map(({ kind, values }) => [kind, values.filter(({ items }) => items > 1).map(({ value }) => value).sort()])
    .filter(([, values]) => values.length > 1).slice(0, KINDS);
}

function draw() {
  const focused = document.activeElement?.dataset?.filter;
  $("facets").replaceChildren(...kinds().map(([kind, values]) =>
    h("fieldset", {}, h("legend", { dir: "auto" }, kind), h("div", { class: "chips" }, values.map((value) => chip(`${kind}:${value}`, value))))));
  const years = facets.find(({ kind, least }) => kind === "year" && least !== null);
  $("years").hidden = !years;
  if (years) [$("year-from").placeholder, $("year-to").placeholder] = [years.least, years.most];
  if (focused) [...document.querySelectorAll("[data-filter]")].find((one) => one.dataset.filter === focused)?.focus();
}

/** A press asks for it, another forbids it, a third lets it be. */
function chip(name, value) {
  const button = h("button", { type: "button", class: "chip", dataset: { filter: name }, onclick: () => {
    const next = { "": "yes", yes: "no", no: "" }[chosen.get(name) ?? ""];
    if (next) chosen.set(name, next);
    else chosen.delete(name);
    paint();
    told();
  } });
  const paint = () => {
    const how = chosen.get(name) ?? "";
    button.replaceChildren(SIGNS[how], text(value));
    button.dataset.how = how;
    button.setAttribute("aria-pressed", { "": "false", yes: "true", no: "mixed" }[how]);
    button.setAttribute("aria-label", `${value}: ${{ "": "either way", yes: "wanted", no: "not wanted" }[how]}`);
  };
  paint();
  return button;
}

function told() {
  const { filter = [], diversity } = filtering(), count = filter.length + (diversity ? 1 : 0);
  $("filtered").hidden = !count;
  $("filtered").textContent = `${count} set`;
  changed();
}

export function clear() {
  chosen.clear();
  for (const id of ["year-from", "year-to"]) $(id).value = "";
  $("diversity").value = 0;
  draw();
  told();
}

export function wire(work) {
  changed = later(150, work);
  for (const id of ["year-from", "year-to"]) $(id).addEventListener("input", later(500, told));
  $("diversity").addEventListener("input", told);
  $("clear").addEventListener("click", clear);
  $("filters").addEventListener("toggle", learn);
  learn();
}
