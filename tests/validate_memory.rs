//! A value that keeps its rules costs no memory: nearly all do, and each message of a client is judged.

use std::borrow::Cow;

use peak_alloc::PeakAlloc;
use tagwire::validate::{Constant, FieldRules, Ignore, Rule, Rules, Value};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn field(kind: &'static str, rules: Vec<Rule>) -> FieldRules {
    FieldRules {
        name: Cow::Borrowed("field"),
        required: true,
        ignore: Ignore::Unset,
        own: Rules { kind: Cow::Borrowed(kind), rules },
        items: (Ignore::Unset, Rules::NONE),
        keys: (Ignore::Unset, Rules::NONE),
    }
}

// One test, for the peak is that of the whole process.
#[test]
fn what_keeps_its_rules_takes_no_memory() {
    let number = |value| Constant::Int(value);
    let text = |value: &str| Constant::Text(value.to_string());
    let numbers = field(
        "int32",
        vec![
            Rule::Gte(number(1)),
            Rule::Lt(number(100)),
            Rule::In((1..1000).map(number).collect::<Vec<_>>().into()),
            Rule::NotIn(vec![number(7)].into()),
            Rule::DefinedOnly((0..50).collect()),
        ],
    );
    let texts = field(
        "string",
        vec![
            Rule::MinLen(1),
            Rule::MaxLen(20),
            Rule::MaxBytes(40),
            Rule::Prefix(text("p")),
            Rule::Suffix(text("1")),
            Rule::Contains(text("lay")),
            Rule::NotContains(text("x")),
        ],
    );
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    for _ in 0..100 {
        assert!(numbers.plain(Value::Int(42)).is_ok());
        assert!(texts.plain("player1").is_ok());
    }
    assert_eq!(MEMORY.peak_usage().saturating_sub(before), 0, "bytes were taken");
    assert!(texts.plain("nobody").is_err() && numbers.plain(Value::Int(7)).is_err());
}
