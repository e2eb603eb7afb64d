//! The functions of Helm templates: Sprig's and Helm's own pure ones.
//!
//! [`Context`] (time, seed) ─► [`functions`] ─► functions of `nave_gotemplate`
//!
//! The references are `github.com/Masterminds/sprig/v3` 3.3.0 and Helm 4.3.1. `env` and `expandenv` do not exist, as in
//! Helm. What needs a chart, a cluster or the evaluator (`include`, `tpl`, `lookup`) is registered by the chart engine.

mod case;
mod convert;
mod crypto;
mod dates;
mod decimal;
mod defaults;
mod dicts;
mod durations;
mod encoding;
mod helm;
mod json;
mod lists;
mod merge;
mod numeric;
mod paths;
mod random;
mod reflection;
mod regexes;
mod semvers;
mod strings;
mod table;
mod text;
mod toml;
mod urls;
mod wrap;
mod yaml;

pub use dates::GoTime;
pub use durations::GoDuration;

use std::cell::RefCell;
use std::rc::Rc;

use nave_gotemplate::Functions;

use random::Random;
use regexes::Cache;
use table::Table;

/// What the functions take from outside.
#[derive(Clone, Debug)]
pub struct Context {
    /// What `now` says. The local time zone is UTC.
    pub now: jiff::Timestamp,
    /// Where `randAlphaNum`, `uuidv4`, `genCA` and the like begin: the same seed gives the same results in the same
    /// order of calls. It has to come from a good source, since passwords and keys are made from it.
    pub seed: [u8; 32],
}

/// Go's built-in functions, every function of Sprig, and Helm's pure ones.
///
/// What needs neither time nor chance is made once for each thread. The others share one stream of random numbers: ask once
/// per render.
#[must_use]
pub fn functions(context: &Context) -> Functions {
    thread_local! {
        static PURE: Rc<Functions> = Rc::new(pure());
    }
    let mut functions = Functions::over(PURE.with(Rc::clone));
    add_impure(&mut functions, context);
    functions
}

/// What is another function in each render. Its names are no other function's, so that the order does not matter.
fn add_impure(functions: &mut Functions, context: &Context) {
    let mut table = Table::new(functions);
    let now = GoTime::from_timestamp(context.now);
    let random = Rc::new(RefCell::new(Random::new(context.seed)));
    dates::register(&mut table, &now);
    regexes::register(&mut table, &Rc::new(RefCell::new(Cache::default())));
    random::register(&mut table, &random);
    crypto::register(&mut table, &now, &random);
}

fn pure() -> Functions {
    let mut functions = Functions::builtin();
    let mut table = Table::new(&mut functions);
    strings::register(&mut table);
    case::register(&mut table);
    wrap::register(&mut table);
    encoding::register(&mut table);
    numeric::register(&mut table);
    lists::register(&mut table);
    dicts::register(&mut table);
    merge::register(&mut table);
    defaults::register(&mut table);
    reflection::register(&mut table);
    json::register(&mut table);
    paths::register(&mut table);
    semvers::register(&mut table);
    urls::register(&mut table);
    helm::register(&mut table);
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_renders_replaces_nothing_that_does_not() {
        let mut impure = Functions::none();
        let context = Context {
            now: jiff::Timestamp::UNIX_EPOCH,
            seed: [0; 32],
        };
        add_impure(&mut impure, &context);
        let pure = pure();
        assert_eq!(impure.names().find(|name| pure.has(name)), None);
    }
}
