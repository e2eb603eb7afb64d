//! The functions of Helm templates: Sprig's and Helm's own pure ones.
//!
//! [`Context`] (time, seed) ─► [`register`] ─► functions of `nave_gotemplate`
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

/// Adds every function of Sprig, and Helm's pure ones over them, in place of those with the same names.
///
/// Functions registered together share one stream of random numbers: register once per render.
pub fn register(functions: &mut Functions, context: &Context) {
    let mut table = Table::new(functions);
    let now = GoTime::from_timestamp(context.now);
    let random = Rc::new(RefCell::new(Random::new(context.seed)));
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
    dates::register(&mut table, &now);
    paths::register(&mut table);
    regexes::register(&mut table, &Rc::new(RefCell::new(Cache::default())));
    semvers::register(&mut table);
    urls::register(&mut table);
    random::register(&mut table, &random);
    crypto::register(&mut table, &now, &random);
    helm::register(&mut table);
}
