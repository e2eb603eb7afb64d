//! Truth values of flags, as the command lines of Flux's programs (pflag) take them: `--no-remote-bases=true`.
//!
//! clap gives a flag either no value or one that shows in every help text. So the words are brought into the form that clap
//! knows before it reads them: what is true is named, what is false is left out.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// The words of a command line (the program's name first) without `=true` and `=false` behind flags that take no value. The
/// last mention of a flag counts, as in pflag.
///
/// What is no truth value stays as it is, for clap to refuse.
pub fn plain(command: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut scope = vec![command];
    // Beside each word the flag that it names.
    let mut plain: Vec<(Option<&Arg>, OsString)> = Vec::new();
    plain.extend(words.next().map(|program| (None, program)));
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" {
            plain.push((None, word));
            break; // what follows are no flags
        }
        if let Some((flag, is_on)) = switch(&scope, text) {
            plain.retain(|(earlier, _)| earlier.is_none_or(|earlier| earlier.get_id() != flag.get_id()));
            if is_on {
                let name = text.split('=').next().unwrap_or_default();
                plain.push((Some(flag), name.into()));
            }
            continue;
        }
        let has_value = takes_the_next_word(&scope, text);
        scope.extend(scope.last().and_then(|command| command.find_subcommand(text)));
        plain.push((None, word));
        if has_value {
            plain.extend(words.next().map(|value| (None, value)));
        }
    }
    plain.extend(words.map(|word| (None, word)));
    plain.into_iter().map(|(_, word)| word).collect()
}

/// The flag without a value that a word names, and whether the word turns it on.
fn switch<'a>(scope: &[&'a Command], text: &str) -> Option<(&'a Arg, bool)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, truth(value)?),
        None => (text, true),
    };
    let flag = find(scope, name)?;
    matches!(flag.get_action(), ArgAction::SetTrue).then_some((flag, value))
}

fn takes_the_next_word(scope: &[&Command], text: &str) -> bool {
    find(scope, text).is_some_and(|argument| {
        let least = argument.get_num_args().map_or(1, |range| range.min_values());
        argument.get_action().takes_values() && !argument.is_require_equals_set() && least > 0
    })
}

/// The argument of that name (`--long` or `-s`): of the innermost command that has one, since it hides those further out.
fn find<'a>(scope: &[&'a Command], name: &str) -> Option<&'a Arg> {
    let is_it = |argument: &&Arg| match name.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => {
            let mut letters = name.strip_prefix('-').unwrap_or_default().chars();
            let letter = letters.next();
            letter.is_some() && letters.next().is_none() && argument.get_short() == letter
        }
    };
    scope
        .iter()
        .rev()
        .find_map(|command| command.get_arguments().find(is_it))
}

/// What Go's `strconv.ParseBool` takes.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let global = Arg::new("namespace").long("namespace").short('n').global(true);
        let get = Command::new("get")
            .visible_alias("list")
            .arg(flag("wait").short('w'))
            .arg(Arg::new("selector").long("selector").short('l'))
            .arg(Arg::new("words").num_args(0..));
        let create = Command::new("create").arg(Arg::new("wait").long("wait"));
        let verbs = [get, create];
        Command::new("x")
            .arg(global)
            .arg(flag("verbose").global(true))
            .subcommands(verbs)
    }

    #[track_caller]
    fn check(line: &str, wanted: &str) {
        let words = line.split_whitespace().map(OsString::from);
        let found = plain(&command(), words);
        let found: Vec<&str> = found.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(found.join(" "), wanted, "{line}");
    }

    #[test]
    fn truth_values_become_flags_or_nothing() {
        check("x --verbose=true get", "x --verbose get");
        check("x get --wait=1 a", "x get --wait a");
        check("x list --wait=T", "x list --wait");
        check("x get -w=true", "x get -w");
        check("x get --wait=false --verbose=FALSE a", "x get a");
        check("x get --wait --wait=false", "x get");
        check("x get --wait=false --wait", "x get --wait");
        check("x get --wait --wait", "x get --wait");
    }

    #[test]
    fn everything_else_stays_as_it_was_typed() {
        for line in [
            "x get --wait=maybe",
            "x --wait=true",
            "x create --wait=true",
            "x get --unknown=true",
            "x get --selector=true",
            "x get -l --wait=true",
            "x -n get --wait=true",
            "x get a -- --wait=true",
            "x get a=true",
            "x",
            "",
        ] {
            check(line, line);
        }
    }
}
