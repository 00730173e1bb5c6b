//! `ompipe config`.

use ompipe_core::Problem;
use ompipe_core::config::{PARAMETERS, Parameter};
use serde_json::{Value, json};

use crate::args::{Args, ConfigCommand, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) fn execute(args: &Args, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check => check(args)?,
        ConfigCommand::Show => show(args)?,
        ConfigCommand::Reference => reference(args.output)?,
    }
    Ok(Exit::Success)
}

fn reference(output: Output) -> Result<(), Failure> {
    if output.is_structured() {
        return output::print_structured(output, &PARAMETERS);
    }
    let rows = PARAMETERS.iter().map(|parameter| {
        let Parameter { key, env, default, meaning } = parameter;
        [(*key).to_owned(), output::cell(*env), (*default).to_owned(), (*meaning).to_owned()]
    });
    output::print(output::table(["KEY", "ENVIRONMENT VARIABLE", "DEFAULT", "MEANING"], rows))
}

fn show(args: &Args) -> Result<(), Failure> {
    let values = inputs::effective_config(args)?;
    if args.output.is_structured() {
        return output::print_structured(args.output, &values);
    }
    let rows = values.iter().map(|one| [one.key.clone(), one.origin.to_string(), text(&one.value)]);
    output::print(output::table(["KEY", "ORIGIN", "VALUE"], rows))
}

/// A value on one line, as YAML has it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    }
}

fn check(args: &Args) -> Result<(), Failure> {
    let checked = inputs::check_config(args)?;
    let where_from = match (&args.config_from, &args.config) {
        (Some(object), _) => object.clone(),
        (None, Some(file)) => file.display().to_string(),
        (None, None) => "no file given, every parameter has its default".to_owned(),
    };
    if args.output.is_structured() {
        let result = json!({ "valid": true, "notices": checked.notices });
        return output::print_structured(args.output, &result);
    }
    let notices = checked.notices.iter().map(Problem::to_string);
    let lines = notices.map(|notice| format!("\n  note: {notice}")).collect::<Vec<_>>();
    output::print(format_args!("configuration is valid ({where_from}){}", lines.concat()))
}
