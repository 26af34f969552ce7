/**
 * The stage: everyone's pointer, and our own mouse on it.
 *
 * Places are those of the messages, pixels of a stage of 1280 by 720, however large it is on this screen.
 */

import { shadeOf, type Player, type Players } from "./players.js";

const WIDTH = 1280;
const HEIGHT = 720;
/** Milliseconds in which a pointer makes most of its way to where its player said it is. */
const EASE = 45;
const ARROW = "M2 2v24l6-6 5 10 5-2-5-10h9z";

interface Shown {
  readonly element: HTMLElement;
  readonly label: HTMLElement;
  x: number;
  y: number;
}

/** What our mouse does, in the stage's own pixels. */
export type OnMouse = (mouse: { x: number; y: number; left: boolean; right: boolean }) => void;

export class Stage {
  readonly #element: HTMLElement;
  readonly #shown = new Map<number, Shown>();

  constructor(element: HTMLElement, onMouse: OnMouse) {
    this.#element = element;
    const tell = (event: PointerEvent): void => {
      const box = element.getBoundingClientRect();
      const on = (at: number, size: number, length: number): number =>
        Math.round((Math.min(Math.max(at, 0), size) / size) * length);
      onMouse({
        x: on(event.clientX - box.left, box.width, WIDTH),
        y: on(event.clientY - box.top, box.height, HEIGHT),
        left: (event.buttons & 1) !== 0,
        right: (event.buttons & 2) !== 0,
      });
    };
    for (const kind of ["pointermove", "pointerdown", "pointerup"] as const) element.addEventListener(kind, tell);
    element.addEventListener("contextmenu", (event) => {
      event.preventDefault();
    });
  }

  /** Draws a frame, `elapsed` milliseconds after the one before. */
  draw(players: Players, me: number | undefined, elapsed: number): void {
    for (const [id, shown] of this.#shown) {
      if (!players.get(id)?.mouse) {
        shown.element.remove();
        this.#shown.delete(id);
      }
    }
    const scale = this.#element.clientWidth / WIDTH;
    const part = 1 - Math.exp(-elapsed / EASE);
    for (const player of players.values()) {
      if (player.mouse) this.#draw(player, player.mouse, player.id === me, scale, part);
    }
  }

  #draw(player: Player, mouse: NonNullable<Player["mouse"]>, mine: boolean, scale: number, part: number): void {
    let shown = this.#shown.get(player.id);
    if (!shown) {
      shown = { ...pointer(), x: mouse.x, y: mouse.y };
      this.#element.append(shown.element);
      this.#shown.set(player.id, shown);
    }
    // Moves come as often as their player sends them; between two of them the pointer glides. Ours never lags.
    shown.x += (mouse.x - shown.x) * (mine ? 1 : part);
    shown.y += (mouse.y - shown.y) * (mine ? 1 : part);
    const { element, label } = shown;
    element.style.transform = `translate(${(shown.x * scale).toFixed(1)}px, ${(shown.y * scale).toFixed(1)}px)`;
    element.style.setProperty("--shade", shadeOf(player));
    element.classList.toggle("down", mouse.down);
    element.classList.toggle("away", player.away);
    element.dataset["player"] = player.name;
    element.dataset["x"] = String(mouse.x);
    element.dataset["y"] = String(mouse.y);
    const text = mine ? `${player.name} (you)` : player.name;
    if (label.textContent !== text) label.textContent = text;
  }
}

function pointer(): { element: HTMLElement; label: HTMLElement } {
  const element = document.createElement("div");
  element.className = "pointer";
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 24 32");
  const arrow = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of [
    ["d", ARROW],
    ["fill", "currentcolor"],
    ["stroke", "#fff"],
    ["stroke-width", "2"],
    ["stroke-linejoin", "round"],
  ] as const) {
    arrow.setAttribute(name, value);
  }
  picture.append(arrow);
  const label = document.createElement("span");
  element.append(picture, label);
  return { element, label };
}
