//! Logins that are refused: what the client says of it, and that it does not come back by itself.

use anyhow::Result;
use serde_json::{Value, json};
use tagwire::pb::tagwire::v1::{Disconnect, login_part};

use super::cases;
use crate::stage::{Stage, WHILE, quick};

cases!["refusals";
    refused_name = |stage| of_part(stage, login_part::Value::Name, "name"),
    refused_password = |stage| of_part(stage, login_part::Value::Password, "password"),
    refused_token = |stage| of_part(stage, login_part::Value::Token, "token"),
    refused_and_no_part_told = |stage| {
        refused(stage, &Disconnect { code: 3501, reason: "no".into(), ..Disconnect::default() }, json!({ "part": null }))
    },
    refused_version,
    refused_schema_tells_the_findings,
    refused_for_overload_tells_when_to_come_again,
    refused_for_a_login_that_is_late = |stage| {
        refused(stage, &Disconnect { code: 3507, reason: "late".into(), ..Disconnect::default() }, json!({}))
    },
    refused_with_a_code_of_the_application = |stage| {
        refused(stage, &Disconnect { code: 4600, reason: "closed today".into(), ..Disconnect::default() }, json!({}))
    },
    refused_with_a_code_that_nobody_knows = |stage| {
        refused(stage, &Disconnect { code: 3777, reason: "new".into(), ..Disconnect::default() }, json!({}))
    },
];

fn refused(stage: &mut Stage, told: &Disconnect, mut fields: Value) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": quick() }))?;
    link.send(told)?;
    link.end()?;
    fields["code"] = told.code.into();
    fields["reason"] = told.reason.as_str().into();
    fields["retry_after_ms"] = told.retry_after_ms.into();
    stage.driver.expect_like("refused", fields)?;
    link.ended()?;
    stage.peer.nobody_comes(WHILE)
}

fn of_part(stage: &mut Stage, part: login_part::Value, name: &str) -> Result<()> {
    let told = Disconnect { code: 3501, reason: "no".into(), refused: part.into(), ..Disconnect::default() };
    refused(stage, &told, json!({ "part": name }))
}

fn refused_version(stage: &mut Stage) -> Result<()> {
    let told = Disconnect { code: 3510, reason: "speak 2 to 3".into(), ..Disconnect::default() };
    refused(stage, &told, json!({ "part": "version" }))
}

fn refused_schema_tells_the_findings(stage: &mut Stage) -> Result<()> {
    let findings = vec!["conformance.v1.Note.text: string became bytes".to_owned(), "and more".to_owned()];
    let told =
        Disconnect { code: 3502, reason: "no".into(), findings: findings.clone(), ..Disconnect::default() };
    refused(stage, &told, json!({ "part": "schema", "findings": findings }))
}

fn refused_for_overload_tells_when_to_come_again(stage: &mut Stage) -> Result<()> {
    let told =
        Disconnect { code: 3003, reason: "full".into(), retry_after_ms: 1500, ..Disconnect::default() };
    refused(stage, &told, json!({}))
}
