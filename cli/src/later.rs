//! Arguments of a verb that are described only when the verb was typed: all of them together are a thousand, and most of
//! the time of a short command.

use std::{cell::RefCell, ffi::OsString};

use clap::{ArgMatches, Args, Command, CommandFactory, Error, FromArgMatches};
use nave_runtime::flags;

thread_local! {
    /// The words that were typed, while only their verbs are described.
    static TYPED: RefCell<Option<Vec<OsString>>> = const { RefCell::new(None) };
}

/// Arguments that [`parse`] leaves out unless their verb is among the words. A verb that is typed has them from the
/// beginning, since they may take the place of global ones.
#[derive(Debug)]
pub struct Later<T>(pub T);

impl<T: Args> Args for Later<T> {
    fn augment_args(command: Command) -> Command {
        let is_typed = TYPED.with_borrow(|typed| {
            let words = typed.as_ref();
            words.is_none_or(|words| words.iter().any(|word| *word == *command.get_name()))
        });
        if is_typed {
            T::augment_args(command)
        } else {
            command.defer(T::augment_args)
        }
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Later)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Later)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// The command line as it was typed. One that cannot be understood, or asks for help, is read again with everything
/// described, so that what is printed knows all verbs.
pub fn parse<T: CommandFactory + FromArgMatches>() -> T {
    try_parse().unwrap_or_else(|| {
        let command = T::command();
        let words = flags::plain(&command, std::env::args_os());
        let mut matches = command.get_matches_from(words);
        T::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.format(&mut T::command()).exit())
    })
}

fn try_parse<T: CommandFactory + FromArgMatches>() -> Option<T> {
    try_parse_from(std::env::args_os().collect()).ok()
}

fn try_parse_from<T: CommandFactory + FromArgMatches>(words: Vec<OsString>) -> Result<T, Error> {
    TYPED.set(Some(words.clone()));
    let command = T::command();
    TYPED.set(None);
    let words = flags::plain(&command, words);
    let mut matches = command.try_get_matches_from(words)?;
    T::from_arg_matches_mut(&mut matches)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};

    use super::*;

    /// A program.
    #[derive(Debug, Parser)]
    struct Line {
        #[arg(long, global = true)]
        loud: bool,
        /// As who.
        #[arg(long, global = true)]
        token: Option<String>,
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, Subcommand)]
    enum Verb {
        Say(Later<Say>),
        Hide(Later<Hide>),
    }

    /// Says it.
    #[derive(Debug, clap::Args)]
    struct Say {
        #[arg(long, default_value = "once")]
        often: String,
        words: Vec<String>,
    }

    /// Hides it.
    #[derive(Debug, clap::Args)]
    struct Hide {
        #[arg(long)]
        place: Option<String>,
        /// In the place of the global one.
        #[arg(long, required = true)]
        token: Option<String>,
    }

    fn lazily(line: &str) -> Result<Line, Error> {
        try_parse_from(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn flags_take_truth_values() {
        let read = |line: &str| format!("{:?}", lazily(line).unwrap());
        assert_eq!(read("x say --loud=true a"), read("x say --loud a"));
        assert_eq!(read("x --loud say --loud=false a"), read("x say a"));
        assert!(lazily("x say --loud=maybe").is_err());
    }

    #[test]
    fn a_verb_is_understood_as_if_it_had_been_described_at_once() {
        for line in [
            "x say a b --loud",
            "x --loud say --often twice c",
            "x hide --place here --token t",
            "x say --token t",
            "x say hide",
            "x say",
        ] {
            let eagerly = format!("{:?}", Line::try_parse_from(line.split_whitespace()).unwrap());
            assert_eq!(format!("{:?}", lazily(line).unwrap()), eagerly, "{line}");
        }
        for line in [
            "x",
            "x say --place here",
            "x hide",
            "x hide --token t --often once",
            "x hid",
        ] {
            let eagerly = Line::try_parse_from(line.split_whitespace()).unwrap_err();
            assert_eq!(lazily(line).unwrap_err().kind(), eagerly.kind(), "{line}");
        }
    }
}
