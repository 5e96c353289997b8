// The wall: the list, its reasons, and what came and went since it was last looked at.

import { get, latest } from "./api.js";
import { $, announce, busy, calm, fault, h, picture, plural, text, title, tool } from "./dom.js";
import { say } from "./feedback.js";
import { filtering } from "./filters.js";
import { state, tell } from "./state.js";

const STEP = 24, MOST = 240, REASONS = 3, FAR = 3; // a move of fewer places is not worth a mark
const newest = latest();
let shown = [], cards = new Map(), wanted = STEP, focus = null;

/** How many titles are asked for. */
export const length = () => wanted;

export const firstPage = () => { wanted = STEP; };

/** Begin anew, for somebody else: what stood there before is no change. */
export function reset() {
  [shown, wanted, cards] = [[], STEP, new Map()];
  $("change").hidden = $("none").hidden = $("more").hidden = true;
  $("wall").replaceChildren(...Array.from({ length: 12 }, () => h("li", { class: "card ghost", "aria-hidden": "true" }, h("div", { class: "poster" }), h("p"), h("p"))));
}

/** Ask for the list anew; `cause` says whether what changed is to be told. */
export async function refresh(cause = "") {
  const user = state.user, query = { user_id: user, k: wanted, ...filtering() };
  await busy($("wall"), async () => {
    const made = await newest((signal) => get("/v1/recommendations", query, signal)).catch((error) => {
      if (error.name !== "AbortError" && !cards.size) $("wall").replaceChildren();
      if (error.status === 404 && user === state.user) tell("gone");
      throw error;
    });
    state.model = made.model;
    $("made").replaceChildren("by ", text(made.model), ` · ${made.key.slice(0, 8)}`);
    show(made.items, cause);
  });
}

function show(items, cause) {
  const before = shown.map((one) => one.item_id), places = new Map(before.map((id, place) => [id, place]));
  const now = new Set(items.map((one) => one.item_id));
  const boxes = calm() ? new Map() : new Map([...cards].map(([id, card]) => [id, card.getBoundingClientRect()]));
  const tellIt = cause && cause !== "more" && before.length;
  const next = new Map();
  items.forEach((item, place) => {
    const card = cards.get(item.item_id) ?? makeCard(item);
    fill(card, item, place, tellIt ? places.get(item.item_id) ?? -1 : place);
    next.set(item.item_id, card);
  });
  const focused = focusedAt();
  $("wall").replaceChildren(...next.values());
  cards = next;
  if (tellIt) tellChange(items.filter((one) => !places.has(one.item_id)), shown.filter((one) => !now.has(one.item_id)), items, before);
  else if (cause !== "more") $("change").hidden = true;
  shown = items;
  empty(items);
  glide(boxes);
  keepFocus(focused);
  $("more").hidden = items.length < wanted || wanted >= MOST;
}

function makeCard(item) {
  const card = h("li", { class: "card" },
    h("button", { type: "button", class: "face", onclick: () => tell("open", card.item) }, picture(item, 320),
      h("span", { class: "flag" }), h("span", { class: "words" }, h("span", { class: "place" }), " ", text(title(item), "span", { class: "name" }))),
    text("", "p", { class: "attributes" }),
    h("ul", { class: "reasons" }),
    h("div", { class: "acts" }, ["like", "dislike", "hide"].map((kind) => tool(kind, `${{ like: "Like", dislike: "Dislike", hide: "Hide" }[kind]} ${title(item)}`, () => react(card, kind))),
      tool("why", `Why ${title(item)}, and more`, () => tell("open", card.item))));
  return card;
}

function fill(card, item, place, was) {
  card.item = item;
  card.dataset.item = item.item_id;
  card.querySelector(".place").textContent = place + 1;
  card.querySelector(".attributes").textContent = item.attributes.map((one) => one.slice(one.indexOf(":") + 1)).join(" · ");
  card.querySelector(".reasons").replaceChildren(...item.reasons.slice(0, REASONS).map((one) => text(one.text, "li")));
  const came = was < 0, moved = came ? 0 : was - place;
  card.classList.toggle("came", came);
  const flag = card.querySelector(".flag");
  flag.textContent = came ? "came" : item.fresh ? "new item" : Math.abs(moved) >= FAR ? `${moved > 0 ? "↑" : "↓"} ${Math.abs(moved)}` : "";
  flag.className = `flag${came ? " strong" : ""}`;
}

function tellChange(came, went, items, before) {
  const same = items.length === before.length && items.every((one, place) => one.item_id === before[place]);
  const count = came.length || went.length ? `${came.length} came, ${went.length} went` : same ? "The list stays as it was" : "The same titles, in another order";
  const names = went.slice(0, 6).map((one) => text(title(one), "i")).flatMap((one, place) => (place ? [", ", one] : [one]));
  $("change").replaceChildren(h("b", {}, count), went.length ? ": gone " : ".", ...names, went.length > 6 ? ` and ${went.length - 6} more` : "");
  $("change").hidden = false;
  if (document.body.dataset.view !== "list") $("news").textContent = came.length ? ` · ${came.length} came` : "";
  announce(count);
}

function empty(items) {
  $("none").hidden = items.length > 0;
  $("none").textContent = filtering().filter?.length ? "Nothing is left with these filters. Clear one of them." : "Nothing is left to recommend.";
}

/** Let cards glide to where they now stand. */
function glide(boxes) {
  if (!boxes.size) return;
  for (const [id, card] of cards) {
    const old = boxes.get(id), now = card.getBoundingClientRect();
    if (!old) card.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 450, easing: "ease-out" });
    else if (Math.abs(old.left - now.left) + Math.abs(old.top - now.top) > 2)
      card.animate([{ transform: `translate(${old.left - now.left}px, ${old.top - now.top}px)` }, { transform: "none" }], { duration: 380, easing: "cubic-bezier(.2,.7,.2,1)" });
  }
}

async function react(card, kind) {
  const buttons = card.querySelectorAll(".acts button");
  const place = [...$("wall").children].indexOf(card), act = ["like", "dislike", "hide"].indexOf(kind);
  for (const one of buttons) one.disabled = true;
  focus = { place, act };
  if (!(await say(card.item, kind))) focus = null;
  for (const one of buttons) one.disabled = false;
}

const focusedAt = () => {
  const button = document.activeElement?.closest?.("#wall button"), card = button?.closest(".card");
  return button ? { button, place: [...$("wall").children].indexOf(card) } : null;
};

/** Whoever works with the keyboard stays where they are, though the card is gone. */
function keepFocus(focused) {
  if (focused && document.contains(focused.button)) focused.button.focus({ preventScroll: true });
  else if (focus && [document.body, null].includes(document.activeElement)) {
    const next = $("wall").children[Math.min(focus.place, $("wall").children.length - 1)];
    (next?.querySelectorAll(".acts button")[focus.act] ?? $("wall")).focus({ preventScroll: true });
  }
  focus = null;
}

export function wire() {
  $("more").addEventListener("click", async () => {
    const place = shown.length;
    wanted = Math.min(MOST, wanted + STEP);
    await refresh("more").catch(fault);
    $("wall").children[place]?.querySelector("button").focus();
    announce(plural($("wall").children.length, "title"));
  });
}
