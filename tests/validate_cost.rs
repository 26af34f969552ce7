//! How long a rule's own list is does not count: a client may send many items, each of which is looked for in it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use tagwire::validate::{Constant, FieldRules, Ignore, Rule, Rules, Value};

/// The shortest of a few judgements of a list of 10,000 items, none of which is in either half of `rules`.
fn shortest(rules: Rules) -> Duration {
    let field = FieldRules {
        name: Cow::Borrowed("field"),
        required: false,
        ignore: Ignore::Unset,
        own: Rules::NONE,
        items: (Ignore::Unset, rules),
        keys: (Ignore::Unset, Rules::NONE),
    };
    let items = (0..10_000).map(|number| Value::Int(1_000_000 + number));
    let judge = |_| {
        let start = Instant::now();
        assert!(field.list(10_000, items.clone()).is_ok());
        start.elapsed()
    };
    (0..5).map(judge).min().unwrap_or_default()
}

fn not_in(count: i64) -> Rules {
    let listed: Vec<_> = (0..count).map(Constant::Int).collect();
    Rules { kind: Cow::Borrowed("int32"), rules: vec![Rule::NotIn(listed.into())] }
}

#[test]
fn a_long_list_of_a_rule_costs_no_more_than_a_short_one() {
    let (short, long) = (shortest(not_in(2)), shortest(not_in(1000)));
    let ratio = long.as_secs_f64() / short.as_secs_f64();
    println!("2 values: {short:.2?}, 1,000 values: {long:.2?}, {ratio:.1} times");
    // One after the other it is 200 times.
    assert!(ratio < 10.0, "{ratio:.1} times as long");
}
