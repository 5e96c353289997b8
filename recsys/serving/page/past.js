// What a person took, and what they said here, to be taken back.

import { get, latest } from "./api.js";
import { $, busy, h, picture, plural, text, title } from "./dom.js";
import { takeBack } from "./feedback.js";
import { state, tell } from "./state.js";

const ENOUGH = 3, SHOWN = 12;
const SAID = { like: "liked", dislike: "disliked", hide: "hidden", click: "looked at", rating: "rated" };
const newest = latest();

export async function refresh() {
  await busy($("history"), async () => show(await newest((signal) => get("/v1/user", { user_id: state.user, limit: 60 }, signal))));
}

function show(known) {
  const names = new Map([...known.taken, ...known.disliked].map((one) => [one.item_id, one]));
  const parts = [];
  if (known.events.length) parts.push(h("h3", {}, "Said here"), h("ul", { class: "events" }, known.events.map((one) => event(one, names.get(one.item_id)))));
  parts.push(h("h3", {}, known.n_taken ? `Taken: ${plural(known.n_taken, "title")}` : "Nothing taken yet"));
  if (known.taken.length) parts.push(h("ul", { class: "known" }, known.taken.slice(0, SHOWN).map((item) => h("li", {}, face(item)))));
  $("history").replaceChildren(...parts);
  for (const line of $("history").querySelectorAll("[data-unnamed]")) name(line);
  $("begin").hidden = known.n_taken >= ENOUGH;
  $("begin-bar").value = Math.min(known.n_taken, ENOUGH);
  $("begin-words").textContent = known.n_taken ? `${known.n_taken} of ${ENOUGH} likes.` : "Like three titles to begin.";
}

function event(one, item) {
  const what = `${SAID[one.kind] ?? one.kind}${one.value === null ? "" : ` ${one.value}`}`;
  const words = text(item ? title(item) : one.item_id, "span", item ? {} : { dataset: { unnamed: one.item_id } });
  const back = h("button", { type: "button", class: "link", onclick: () => takeBack(one.user_id, one.number, words.textContent) }, "take back");
  back.setAttribute("aria-label", `Take back: ${what} ${words.textContent}`);
  return h("li", {}, h("span", {}, h("b", { class: one.kind }, what), " ", words), back);
}

async function name(words) {
  const item = await get("/v1/item", { item_id: words.dataset.unnamed }).catch(() => null);
  if (item) words.textContent = title(item);
}

const face = (item) => h("button", { type: "button", class: "face", title: title(item), "aria-label": title(item), onclick: () => tell("open", item) },
  picture(item, 128));
