//! `docs/cli.md`, from the definition of the command line.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::CommandLine;

const HEAD: &str = "\
# The command line

<!-- Written by `cargo run -p nave -- docgen --path docs/cli.md`; a test fails when this file is stale. -->

Data goes to standard output, everything else to standard error. Tables look like kubectl's; commands that exist in `flux`
have its flags, columns and exit codes. Colour is used on a terminal only and never says anything alone.
";

/// The reference as Markdown.
pub fn reference() -> String {
    let mut command = CommandLine::command();
    command.build();
    let mut text = HEAD.to_owned();
    section(&mut text, &command, &[], 2);
    text
}

fn section(text: &mut String, command: &Command, path: &[&str], depth: usize) {
    let mut path = path.to_vec();
    path.push(command.get_name());
    let title = path.join(" ");
    let mark = "#".repeat(depth.min(4));
    line(text, &format!("\n{mark} `{title}`\n"));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        line(text, &format!("{about}\n"));
    }
    line(text, &format!("```\n{}\n```\n", usage(command, &path)));
    let mut aliases = command.get_visible_aliases().peekable();
    if aliases.peek().is_some() {
        let aliases: Vec<String> = aliases.map(|alias| format!("`{alias}`")).collect();
        line(text, &format!("Also: {}\n", aliases.join(", ")));
    }
    options(text, command, path.len() == 1);
    if let Some(after) = command.get_after_help() {
        line(text, &format!("```\n{after}\n```\n"));
    }
    for sub in command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    {
        section(text, sub, &path, depth + 1);
    }
}

fn usage(command: &Command, path: &[&str]) -> String {
    let mut parts = vec![path.join(" ")];
    if command.get_opts().next().is_some() {
        parts.push("[OPTIONS]".to_owned());
    }
    for positional in command.get_positionals() {
        let name = value_names(positional);
        let name = if matches!(positional.get_action(), ArgAction::Append) {
            format!("{name}...")
        } else {
            name
        };
        parts.push(if positional.is_required_set() {
            name
        } else {
            format!("[{name}]")
        });
    }
    if command.has_subcommands() {
        parts.push("COMMAND".to_owned());
    }
    parts.join(" ")
}

/// Global flags are listed once, where they are defined.
fn options(text: &mut String, command: &Command, root: bool) {
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version"))
        .filter(|argument| root || !is_of_the_root(argument))
        .collect();
    if own.is_empty() {
        return;
    }
    line(text, "| | |\n|---|---|");
    for argument in own {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        line(
            text,
            &format!("| {} | {} |", flag(argument), escape(&(help + &remarks(argument)))),
        );
    }
    line(text, "");
}

fn is_of_the_root(argument: &Arg) -> bool {
    argument.is_global_set() && argument.get_help_heading() == Some("Cluster")
}

fn flag(argument: &Arg) -> String {
    if argument.is_positional() {
        return format!("`{}`", value_names(argument));
    }
    let mut names = Vec::new();
    if let Some(short) = argument.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        names.push(format!("--{long}"));
    }
    let value = if argument.get_action().takes_values() {
        format!(" {}", value_names(argument))
    } else {
        String::new()
    };
    format!("`{}{value}`", names.join(", "))
}

fn value_names(argument: &Arg) -> String {
    match argument.get_value_names() {
        Some(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => argument.get_id().as_str().to_uppercase(),
    }
}

/// Possible values and the default.
fn remarks(argument: &Arg) -> String {
    let mut remarks = String::new();
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| value.get_name().to_owned())
        .collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        write!(remarks, " (one of {})", values.join(", ")).expect("writing to memory does not fail");
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        write!(remarks, " (default `{}`)", defaults.join(",")).expect("writing to memory does not fail");
    }
    if matches!(argument.get_action(), ArgAction::Append) && !argument.is_positional() {
        remarks.push_str(" (may be given several times)");
    }
    remarks
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
