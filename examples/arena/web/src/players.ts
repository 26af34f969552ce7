/** Who is in the room, and what is known of each. */

import { Colour } from "../gen/arena/index.js";

/** The colours that a player can pick, and how each looks. */
export const SHADES: ReadonlyMap<Colour, string> = new Map([
  [Colour.RED, "#ff5c6c"],
  [Colour.GREEN, "#3ecf7a"],
  [Colour.BLUE, "#5aa2ff"],
  [Colour.YELLOW, "#ffd34d"],
]);

/** How one looks who has picked none, or one that this page does not know. */
const PLAIN = "#a9b4c9";

/** A player, as this page shows it. */
export interface Player {
  readonly id: number;
  readonly name: string;
  colour: Colour;
  away: boolean;
  /** Where the mouse is. `undefined`: it has not been told. */
  mouse: { x: number; y: number; down: boolean } | undefined;
}

/** All players of the room, ourselves among them. */
export class Players extends Map<number, Player> {
  /** The player of that number; one who was not known begins without a colour and a place. */
  meet(id: number, name: string): Player {
    let player = this.get(id);
    if (!player) {
      player = { id, name, colour: Colour.UNSPECIFIED, away: false, mouse: undefined };
      this.set(id, player);
    }
    return player;
  }
}

/** The CSS colour of a player. */
export function shadeOf(player: Player | undefined): string {
  return (player && SHADES.get(player.colour)) ?? PLAIN;
}
