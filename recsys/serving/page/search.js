// Finding titles to say something of.

import { get, latest } from "./api.js";
import { $, announce, fault, h, later, picture, plural, text, title, tool } from "./dom.js";
import { say } from "./feedback.js";
import { tell } from "./state.js";

const newest = latest();

async function find() {
  const q = $("query").value.trim();
  if (!q) return show(null);
  $("found").setAttribute("aria-busy", "true");
  try {
    show(await newest((signal) => get("/v1/search", { q, k: 8 }, signal)));
  } catch (error) {
    fault(error);
  } finally {
    $("found").setAttribute("aria-busy", "false");
  }
}

function show(items) {
  $("found").hidden = items === null;
  if (items === null) return $("found").replaceChildren();
  $("found").replaceChildren(items.length ? h("ul", {}, items.map(line)) : h("p", { class: "empty" }, "Nothing is called so, or reads like it."));
  announce(items.length ? `${plural(items.length, "title")} found` : "Nothing found");
}

function line(item) {
  const react = async (kind) => {
    if (await say(item, kind)) {
      row.classList.add("done");
      row.querySelector(".acts").replaceChildren(h("span", { class: "quiet" }, kind === "like" ? "liked" : "disliked"));
      $("query").focus();
    }
  };
  const row = h("li", { dataset: { item: item.item_id } }, picture(item, 64),
    h("button", { type: "button", class: "plain", onclick: () => tell("open", item) }, text(title(item), "span", { class: "name" }),
      text(item.attributes.map((one) => one.slice(one.indexOf(":") + 1)).join(" · "), "span", { class: "attributes" })),
    h("div", { class: "acts" }, tool("like", `Like ${title(item)}`, () => react("like")), tool("dislike", `Dislike ${title(item)}`, () => react("dislike"))));
  return row;
}

/** Look for these words, as if they had been typed. */
export function lookFor(words) {
  $("query").value = words;
  $("query").focus();
  find();
}

export const shut = () => show(null);

export function wire() {
  $("query").addEventListener("input", later(220, find));
  $("query").addEventListener("focus", () => { if ($("query").value && $("found").hidden) find(); });
  $("find").addEventListener("submit", (event) => { event.preventDefault(); find(); });
  $("find").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    $("query").focus();
    shut();
  });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest("#find, dialog, #toast")) shut(); });
}
