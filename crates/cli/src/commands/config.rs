//! `ompipe config`.

use ompipe_core::Problem;
use ompipe_core::config::{PARAMETERS, Parameter};
use serde_json::json;

use crate::args::{Args, ConfigCommand, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) fn execute(args: &Args, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check => check(args)?,
        ConfigCommand::Reference => reference(args.output)?,
    }
    Ok(Exit::Success)
}

fn reference(output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::print_json(&PARAMETERS);
    }
    let rows = PARAMETERS.iter().map(|parameter| {
        let Parameter { key, env, default, meaning } = parameter;
        [(*key).to_owned(), output::cell(*env), (*default).to_owned(), (*meaning).to_owned()]
    });
    output::print(output::table(["KEY", "ENVIRONMENT VARIABLE", "DEFAULT", "MEANING"], rows))
}

fn check(args: &Args) -> Result<(), Failure> {
    let checked = inputs::check_config(args)?;
    let where_from = args.config.as_ref().map_or_else(
        || "no file given, every parameter has its default".to_owned(),
        |file| file.display().to_string(),
    );
    match args.output {
        Output::Json => output::print_json(&json!({ "valid": true, "notices": checked.notices }))?,
        Output::Table => {
            let notices = checked.notices.iter().map(Problem::to_string);
            let lines = notices.map(|notice| format!("\n  note: {notice}")).collect::<Vec<_>>();
            output::print(format_args!("configuration is valid ({where_from}){}", lines.concat()))?;
        }
    }
    Ok(())
}
