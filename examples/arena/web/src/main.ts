/** The page: logs in, tells the others what our mouse does, and shows what theirs do. */

import {
  connectSync,
  MemberChange,
  MemberChanged,
  Noticed,
  NoticeReason,
  Reconnected,
  RoomEnded,
  TagwireError,
  type Member,
  type SyncClient,
} from "@tagwire/client";
import { ChatSchema, Colour, MouseEventSchema, PickColourSchema, SCHEMA } from "../gen/arena/index.js";
import { colours, element, showLine, showPlayers, showState } from "./panel.js";
import { Players, SHADES, type Player } from "./players.js";
import { Stage } from "./stage.js";

/** Milliseconds of each frame that messages may take. */
const BUDGET = 5;
/** Milliseconds between two moves: the schema allows 120 a second, and screens show 60. */
const MOVE_EVERY = 16;
/** Milliseconds between two colours: the schema allows 5 a second. */
const COLOUR_EVERY = 250;
/** Milliseconds between two frames of a page that is hidden. */
const HIDDEN_EVERY = 500;
const COLOURS = [...SHADES.keys()];

/** One game, from the login to the end of the session. */
class Game {
  readonly #client: SyncClient;
  readonly #players = new Players();
  readonly #stage: Stage;
  readonly #showPicked: (picked: Colour) => void;
  #mouse: { x: number; y: number; left: boolean; right: boolean } | undefined;
  #colour: Colour;
  // What the others are to be told, and when they were told last.
  #moved = false;
  #movedAt = 0;
  #coloured = true;
  #colouredAt = 0;
  #drawnAt = 0;

  constructor(client: SyncClient, stage: Stage, showPicked: (picked: Colour) => void) {
    this.#client = client;
    this.#stage = stage;
    this.#showPicked = showPicked;
    this.#colour = COLOURS[client.playerId % COLOURS.length] ?? Colour.BLUE;
    this.#me.colour = this.#colour;
    showPicked(this.#colour);

    client.on(MouseEventSchema, (message, sender) => {
      if (sender) this.#meet(sender).mouse = { x: message.x, y: message.y, down: message.leftClick };
    });
    client.on(PickColourSchema, (message, sender) => {
      if (!sender) return;
      if (sender.id !== client.playerId) this.#meet(sender).colour = message.colour; // ours comes back, too
      this.#showPlayers();
    });
    client.on(ChatSchema, (message, sender) => {
      showLine(message.text, sender && this.#meet(sender));
    });
    client.on(MemberChanged, (event) => {
      this.#memberChanged(event);
    });
    client.on(Noticed, (notice) => {
      showLine(`${notice.name || "a message"} was dropped: ${NoticeReason[notice.reason]}`);
    });
    client.on(RoomEnded, (event) => {
      showLine(`The room has ended: ${event.reason}`);
    });
    client.on(Reconnected, (event) => {
      this.#reconnected(event);
    });
    this.#showPlayers();
  }

  mouse(mouse: { x: number; y: number; left: boolean; right: boolean }): void {
    this.#mouse = mouse;
    this.#me.mouse = { x: mouse.x, y: mouse.y, down: mouse.left };
    this.#moved = true;
  }

  pick(colour: Colour): void {
    this.#colour = this.#me.colour = colour;
    this.#coloured = true;
    this.#showPicked(colour);
    this.#showPlayers();
  }

  say(text: string): void {
    this.#client.send(ChatSchema, { text });
  }

  async leave(): Promise<void> {
    await this.#client.close();
  }

  /** A frame: sends what has changed, runs what has arrived, draws. Throws when the session has ended. */
  frame(now: number): void {
    const client = this.#client;
    if (this.#moved && this.#mouse && now >= this.#movedAt + MOVE_EVERY) {
      const { x, y, left, right } = this.#mouse;
      client.send(MouseEventSchema, { x, y, leftClick: left, rightClick: right });
      this.#moved = false;
      this.#movedAt = now;
    }
    if (this.#coloured && now >= this.#colouredAt + COLOUR_EVERY) {
      client.send(PickColourSchema, { colour: this.#colour });
      this.#coloured = false;
      this.#colouredAt = now;
    }
    client.sync(BUDGET);
    this.#stage.draw(this.#players, client.playerId, now - this.#drawnAt);
    this.#drawnAt = now;
    this.#showConnection();
  }

  /** Takes everything off the stage. */
  clear(): void {
    this.#players.clear();
    this.#stage.draw(this.#players, undefined, 0);
    this.#showPlayers();
  }

  get #me(): Player {
    return this.#players.meet(this.#client.playerId, this.#client.name);
  }

  #meet(member: Member): Player {
    return this.#players.meet(member.id, member.name);
  }

  #memberChanged({ member, change }: MemberChanged): void {
    if (change === MemberChange.LEFT) {
      this.#players.delete(member.id);
    } else {
      this.#meet(member).away = member.away;
    }
    if (change === MemberChange.JOINED) {
      showLine(`${member.name} is here`);
      this.#moved = this.#coloured = true; // who comes has not seen what was sent before
    } else if (change === MemberChange.LEFT) {
      showLine(`${member.name} has left`);
    }
    this.#showPlayers();
  }

  #reconnected(event: Reconnected): void {
    if (event.resumed) return;
    // A new session: we have another number, and who else is there is told anew.
    this.#players.clear();
    this.#me.colour = this.#colour;
    if (this.#mouse) this.mouse(this.#mouse);
    this.#coloured = true;
    this.#showPlayers();
  }

  #showPlayers(): void {
    showPlayers(this.#players, this.#client.playerId);
  }

  #showConnection(): void {
    const again = this.#client.reconnecting;
    if (again) {
      showState("lost", `connection lost, attempt ${again.attempt}`);
      return;
    }
    showState("open", `in ${this.#client.room || "no room"} as ${this.#client.name}`);
    const { rtt, jitter } = this.#client;
    element("ping", HTMLOutputElement).textContent =
      rtt === undefined ? "" : `${rtt.toFixed(1)} ms ± ${(jitter ?? 0).toFixed(1)}`;
  }
}

/** The page from one login to the next. */
class Page {
  readonly #login = element("login", HTMLFormElement);
  readonly #refused = element("refused", HTMLElement);
  readonly #leave = element("leave", HTMLButtonElement);
  readonly #say = element("say", HTMLFormElement);
  readonly #stage: Stage;
  readonly #showPicked: (picked: Colour) => void;
  #game: Game | undefined;

  constructor() {
    this.#stage = new Stage(element("stage", HTMLElement), (mouse) => this.#game?.mouse(mouse));
    this.#showPicked = colours((colour) => this.#game?.pick(colour));
    this.#login.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#play();
    });
    this.#say.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#sayIt();
    });
    this.#leave.addEventListener("click", () => void this.#end());
    busy(this.#login, false);
    const name = new URLSearchParams(location.search).get("name");
    if (name !== null) {
      field(this.#login, "name").value = name;
      void this.#play();
    }
  }

  async #play(): Promise<void> {
    const username = field(this.#login, "name").value;
    const password = field(this.#login, "password").value;
    this.#refused.textContent = "";
    showState("idle", "connecting");
    busy(this.#login, true);
    try {
      const client = await connectSync(server(), { username, password, schema: SCHEMA });
      this.#game = new Game(client, this.#stage, this.#showPicked);
    } catch (error) {
      if (!(error instanceof TagwireError)) throw error;
      this.#refused.textContent = error.message;
      showState("idle", "not connected");
      return;
    } finally {
      busy(this.#login, false);
    }
    this.#show(true);
    this.#frames(this.#game);
  }

  #frames(game: Game): void {
    // Else the player would be away for a while, as one whose connection is lost.
    addEventListener("pagehide", () => void game.leave(), { once: true });
    const frame = (now: number): boolean => {
      if (this.#game !== game) return false;
      try {
        game.frame(now);
        return true;
      } catch (error) {
        if (!(error instanceof TagwireError)) throw error;
        void this.#end(error.message);
        return false;
      }
    };
    requestAnimationFrame(function next(now) {
      if (frame(now)) requestAnimationFrame(next);
    });
    // A page that is hidden gets no frames, and what arrives must be taken all the same.
    const hidden = setInterval(() => {
      if (this.#game !== game) clearInterval(hidden);
      else if (document.hidden) frame(performance.now());
    }, HIDDEN_EVERY);
  }

  async #end(why = ""): Promise<void> {
    const game = this.#game;
    this.#game = undefined;
    this.#refused.textContent = why;
    this.#show(false);
    game?.clear();
    await game?.leave();
  }

  #sayIt(): void {
    const text = field(this.#say, "text");
    if (!text.value.trim()) return;
    try {
      this.#game?.say(text.value);
    } catch (error) {
      if (!(error instanceof TagwireError)) throw error;
      showLine(error.message); // and the line stays where it is, to be sent again
      return;
    }
    text.value = "";
  }

  #show(playing: boolean): void {
    this.#login.hidden = playing;
    this.#leave.hidden = !playing;
    busy(this.#say, !playing);
    const stage = element("stage", HTMLElement);
    stage.classList.toggle("playing", playing);
    if (playing) {
      stage.focus();
    } else {
      showState("idle", "not connected");
      element("ping", HTMLOutputElement).textContent = "";
    }
  }
}

function field(form: HTMLFormElement, name: string): HTMLInputElement {
  const found = form.elements.namedItem(name);
  if (!(found instanceof HTMLInputElement)) throw new Error(`the form ${form.id} has no field ${name}`);
  return found;
}

function busy(form: HTMLFormElement, is: boolean): void {
  for (const one of form.querySelectorAll<HTMLInputElement | HTMLButtonElement>("input, button")) one.disabled = is;
}

/** The server that this page came from; `?server=ws://localhost:7777` names another. */
function server(): string {
  const other = new URLSearchParams(location.search).get("server");
  if (other) return other;
  const secure = location.protocol === "https:";
  return `${secure ? "wss" : "ws"}://${location.hostname}:${location.port || (secure ? "443" : "80")}`;
}

new Page();
