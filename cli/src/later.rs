//! Arguments of a verb that are described only when the verb was typed: all of them together are a thousand, and most of
//! the time of a short command.

use std::cell::Cell;

use clap::{ArgMatches, Args, Command, CommandFactory, Error, FromArgMatches};

thread_local! {
    static LATER: Cell<bool> = const { Cell::new(false) };
}

/// Arguments that [`parse`] may leave out until their verb is found.
#[derive(Debug)]
pub struct Later<T>(pub T);

impl<T: Args> Args for Later<T> {
    fn augment_args(command: Command) -> Command {
        if LATER.get() {
            command.defer(T::augment_args)
        } else {
            T::augment_args(command)
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
        let mut matches = T::command().get_matches();
        T::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.format(&mut T::command()).exit())
    })
}

fn try_parse<T: CommandFactory + FromArgMatches>() -> Option<T> {
    LATER.set(true);
    let command = T::command();
    LATER.set(false);
    let mut matches = command.try_get_matches().ok()?;
    T::from_arg_matches_mut(&mut matches).ok()
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
    }

    fn lazily(line: &str) -> Result<Line, Error> {
        LATER.set(true);
        let command = Line::command();
        LATER.set(false);
        let mut matches = command.try_get_matches_from(line.split_whitespace())?;
        Line::from_arg_matches_mut(&mut matches)
    }

    #[test]
    fn a_verb_is_understood_as_if_it_had_been_described_at_once() {
        for line in [
            "x say a b --loud",
            "x --loud say --often twice c",
            "x hide --place here",
            "x say",
        ] {
            let eagerly = format!("{:?}", Line::try_parse_from(line.split_whitespace()).unwrap());
            assert_eq!(format!("{:?}", lazily(line).unwrap()), eagerly, "{line}");
        }
        for line in ["x", "x say --place here", "x hide --often once", "x hid"] {
            let eagerly = Line::try_parse_from(line.split_whitespace()).unwrap_err();
            assert_eq!(lazily(line).unwrap_err().kind(), eagerly.kind(), "{line}");
        }
    }
}
