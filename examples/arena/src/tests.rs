//! A room is plain code: it is tested without a server, a socket and a clock.

use tagwire::pb::tagwire::v1::status;
use tagwire::room::Table;

use super::*;

#[test]
fn who_walks_over_the_coin_has_it_and_who_dashes_must_rest() {
    let mut table = Table::new(Coins::new(Best::default()));
    let zoe = table.join("zoe").expect("everybody may come in");
    table.room.coin = Place { east: 5, south: 5 };
    table.room.walkers.insert(zoe, Walker { place: Place { east: 3, south: 5 }, ..Walker::default() });
    let dash = |table: &mut Table<Coins>| table.request::<_, DashReply>(zoe, &DashRequest {});
    assert_eq!(dash(&mut table).map_err(|refusal| refusal.status()), Err(status::Value::Illegal));

    table.send(zoe, &Steer { east: 1_000_000, south: 0 });
    table.tick();
    assert_eq!(
        table.sent::<World>()[0].1.pawns[0].place,
        Some(Place { east: 4, south: 5 }),
        "one step a tick"
    );
    table.tick();
    assert_eq!(table.sent::<Collected>()[0].1, Collected { player: zoe, coins: 1 });
    assert_eq!(*table.room.best.get(), BestReply { name: "zoe".to_string(), coins: 1 });

    assert_eq!(dash(&mut table), Ok(DashReply { place: Some(Place { east: 13, south: 5 }) }));
    assert_eq!(dash(&mut table).map_err(|refusal| refusal.retry_after_ms()), Err(1000));
}
