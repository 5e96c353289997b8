// What a person says of an item, and taking it back.

import { once, post, remove } from "./api.js";
import { fault, title, toast } from "./dom.js";
import { state, tell } from "./state.js";

const DONE = { like: "Liked", dislike: "Disliked", hide: "Hidden" };

/** Say something of an item; the list and the profile follow. Returns whether it was kept. */
export async function say(item, kind) {
  const user = state.user;
  const body = { user_id: user, item_id: item.item_id, kind, model: state.model, key: once() };
  try {
    const kept = await post("/v1/feedback", body);
    toast(`${DONE[kind]}: ${title(item)}`, "Take it back", () => takeBack(user, kept.number, title(item)));
    tell("said", { kind, item });
    return true;
  } catch (error) {
    fault(error);
    return false;
  }
}

export async function takeBack(user, number, name) {
  try {
    await remove("/v1/feedback", { user_id: user, number });
    toast(`Taken back: ${name}`);
    tell("said", { kind: "back" });
  } catch (error) {
    fault(error);
  }
}
