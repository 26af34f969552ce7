//! A room is plain code: it is played here without a server, a socket or a clock.

use tagwire::room::{Table, To};

use super::*;

#[test]
fn a_roll_is_told_to_all_and_the_next_one_waits_a_second() {
    let mut table = Table::new(Game::default());
    let zoe = table.join("zoe").expect("all may come in");
    let kit = table.join("kit").expect("all may come in");
    let roll =
        |table: &mut Table<Game>, player| table.request::<_, RollReply>(player, &RollRequest {});

    let eyes = roll(&mut table, zoe).expect("it is her first").eyes;
    assert!((1..=6).contains(&eyes), "{eyes}");
    assert_eq!(
        table.sent::<Rolled>(),
        [(To::All, Rolled { player: zoe, eyes })]
    );

    assert_eq!(
        roll(&mut table, zoe).map_err(|refusal| refusal.retry_after_ms()),
        Err(1000)
    );
    roll(&mut table, kit).expect("only zoe must wait");
    table.now = table.now.after_us(1_000_000);
    roll(&mut table, zoe).expect("a second is over");
}

#[test]
fn an_empty_line_of_chat_reaches_nobody() {
    let mut table = Table::new(Game::default());
    let zoe = table.join("zoe").expect("all may come in");
    let mut passes = |text: &str| table.relay(zoe, &Chat { text: text.into() });
    assert!(passes("hello"));
    assert!(!passes("  "));
}
