// One item: why it stands where it stands, the picture drawn for the person, and what is like it.

import { get, latest, post } from "./api.js";
import { $, busy, fault, h, picture, plural, text, title } from "./dom.js";
import { say } from "./feedback.js";
import { filtering } from "./filters.js";
import { length } from "./list.js";
import { state } from "./state.js";

const PLACED = new Set(["edit", "diversity", "new", "dislike", "closed"]); // reasons that are no item of the history
const newest = { why: latest(), similar: latest(), own: latest() };
let item = null, drawn = new Map(), drawing = 0;

export function open(wanted) {
  item = wanted;
  [drawn, drawing] = [new Map(), 0];
  $("item-title").textContent = title(item);
  $("item-attributes").textContent = item.attributes.map((one) => one.slice(one.indexOf(":") + 1)).join(" · ");
  $("item-actions").replaceChildren(...["like", "dislike", "hide"].map((kind) =>
    h("button", { type: "button", class: "button", onclick: () => react(kind) }, { like: "Like", dislike: "Dislike", hide: "Hide" }[kind])));
  $("draw-note").textContent = "";
  $("draw").hidden = $("pictures").hidden = !state.about.offers.drawer;
  if (!state.about.offers.drawer) $("draw-note").textContent = "This server draws no pictures.";
  if (!$("item").open) $("item").showModal();
  $("item").scrollTop = 0;
  $("item-title").focus();
  why();
  similar();
  if (state.about.offers.drawer) own();
}

async function react(kind) {
  const said = item;
  $("item").close();
  await say(said, kind);
}

function wait(box, words) {
  box.replaceChildren(h("p", { class: "quiet wait" }, words));
}

async function why() {
  const asked = item;
  wait($("why"), "Asking the model…");
  await busy($("why"), async () => {
    try {
      const told = await newest.why((signal) => get("/v1/why", { user_id: state.user, item_id: asked.item_id, k: length(), ...filtering() }, signal));
      $("why").replaceChildren(...reasons(told));
    } catch (error) {
      if (error.name !== "AbortError") $("why").replaceChildren(text(error.told ? `It ${error.told.cause}.` : String(error), "p", { class: "quiet" }));
    }
  });
}

function reasons(told) {
  const edited = told.without_edits !== null && told.without_edits !== told.place;
  const parts = [h("p", { class: "standing" }, ...(told.place === null ? ["Not in this list"] : ["Number ", h("b", {}, told.place.toLocaleString("en")), " of this list"]), edited ? [", without your edits number ", h("b", {}, told.without_edits.toLocaleString("en"))] : "", ".")];
  const first = told.reasons.filter((one) => PLACED.has(one.kind));
  if (first.length) parts.push(h("ul", { class: "reasons" }, first.map((one) => text(one.text, "li"))));
  if (told.without.length) parts.push(h("ul", { class: "without" }, told.without.map((one) => without(one, told.place))));
  const rest = told.reasons.filter((one) => !PLACED.has(one.kind) && !told.without.some((each) => each.item_id === one.item_id));
  if (rest.length) parts.push(h("ul", { class: "reasons" }, rest.map((one) => text(one.text, "li"))));
  if (told.without.length) parts.push(h("p", { class: "quiet" }, told.exact ? "Exact: the score is a sum over what you took and disliked. Shares are of what speaks for it." : "Places are those of the list that you would get, had you hidden that title."));
  return parts;
}

function without(one, place) {
  return h("li", {}, h("p", {}, "Without ", text(one.title || one.item_id, "i"), " it ", ...where(place, one.place)),
    one.share === null ? null : h("div", { class: "share" }, h("div", { class: "bar", vars: { "--share": Math.max(0, Math.min(1, one.share)) } }), h("span", {}, `${Math.round(100 * one.share)} %`)));
}

/** Where it goes from a place; a list with diversity ends, and what is beyond its end has none. */
function where(place, then) {
  const at = (one) => h("b", {}, one.toLocaleString("en"));
  if (place === then) return place === null ? ["stays out of this list"] : ["stays at ", at(place)];
  if (then === null) return ["leaves this list"];
  if (place === null) return ["comes in at ", at(then)];
  return [`${then > place ? "falls" : "rises"} from ${place.toLocaleString("en")} to `, at(then)];
}

async function similar() {
  const asked = item;
  wait($("similar"), "Looking…");
  try {
    const found = await newest.similar((signal) => get("/v1/similar", { item_id: asked.item_id, by: $("similar-by").value, k: 10 }, signal));
    $("similar").replaceChildren(found.length ? h("ul", { class: "known" }, found.map((one) =>
      h("li", {}, h("button", { type: "button", class: "face", onclick: () => open(one) }, picture(one, 128), text(title(one), "span", { class: "name" }))))) : h("p", { class: "quiet" }, "Nothing."));
  } catch (error) {
    if (error.name !== "AbortError") $("similar").replaceChildren(text(error.told ? `Not to be had: ${error.told.cause}.` : String(error), "p", { class: "quiet" }));
  }
}

/** The item's own picture; where the data have none, the server draws a card with its title, as SVG, and the page says so. */
async function own() {
  const asked = item;
  $("pictures").replaceChildren();
  try {
    const address = `/v1/picture?item_id=${encodeURIComponent(asked.item_id)}&width=480`;
    const answer = await newest.own((signal) => fetch(address, { signal }));
    if (asked !== item) return;
    asked.pictured = answer.ok && answer.headers.get("content-type") === "image/jpeg";
    if (!asked.pictured) $("draw-note").textContent = "The data have no picture of it: what is drawn rests on words and on your taste alone.";
    show();
  } catch (error) {
    fault(error);
  }
}

function show() {
  const waits = drawing ? [h("li", { class: "waiting" }, h("div", { class: "poster", role: "img", "aria-label": "Being drawn" }), h("p", {}, "Being drawn…"))] : [];
  const first = h("li", {}, picture(item, 480, item.pictured ? `The picture of ${title(item)}` : `A card with the title ${title(item)}`), h("p", {}, h("b", {}, "Original"), h("span", { class: "quiet" }, item.pictured ? "" : "a drawn card")));
  const dials = [...drawn].sort(([a], [b]) => a - b);
  $("pictures").replaceChildren(first, ...dials.map(([dial, one]) => visual(dial, one)), ...waits);
}

function visual(dial, { picture: one, seconds }) {
  const words = (one.prompt?.keywords ?? []).map((each) => each.words);
  const kind = one.generated === false ? "chosen from the catalogue" : "drawn by a model";
  return h("li", { dataset: { dial } },
    h("img", { class: "poster", src: one.url, alt: `${title(item)}, for you, dial ${dial}`, width: 2, height: 3 }),
    h("p", {}, h("b", {}, `Dial ${dial}`), h("span", { class: "quiet" }, `${kind}${seconds ? `, ${Math.round(seconds)} s` : ""}`)),
    words.length ? h("p", { class: "quiet" }, "from your taste: ", text(words.slice(0, 6).join(", "))) : null);
}

async function draw(event) {
  event.preventDefault();
  const asked = item, dial = Number($("dial").value), button = $("draw").querySelector("button");
  button.disabled = true;
  drawing = 1;
  show();
  $("draw-note").textContent = "Drawing takes some seconds.";
  await busy($("pictures"), async () => {
    let note = "";
    try {
      const made = await post("/v1/visuals", { user_id: state.user, item_id: asked.item_id, dial, n: 1 });
      if (asked !== item) return;
      const [one] = made.pictures;
      if (!one || !/^\/v1\/visuals\/[\w.-]+\/[\w.-]+$/.test(one.url)) throw new Error("the answer holds no picture");
      drawn.set(dial, { picture: one, seconds: made.seconds });
      note = asked.pictured ? "" : "The data have no picture of it: drawn from words and your taste alone.";
    } catch (error) {
      note = error.told ? `Not drawn: ${error.told.cause}. ${error.told.remedy}` : `Not drawn: ${error.message}.`;
    } finally {
      button.disabled = false;
      if (asked === item) {
        drawing = 0;
        $("draw-note").textContent = note;
        show();
      }
    }
  });
}

export function wire() {
  $("draw").addEventListener("submit", draw);
  $("dial").addEventListener("input", () => ($("dial-value").textContent = $("dial").value));
  $("similar-by").addEventListener("change", similar);
  $("item").querySelector(".close").addEventListener("click", () => $("item").close());
  $("item").addEventListener("pointerdown", (event) => { if (event.target === $("item")) $("item").close(); });
}
