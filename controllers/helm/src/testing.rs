//! Testing a release.

use nave_release::{Release, executing, last};

use crate::{
    act::{Act, Failed},
    settings,
};

pub(crate) const EVENT: &str = "test";

impl Act<'_> {
    /// Runs the tests of the newest version, and remembers how each went. Gives how many ran.
    pub async fn test(&mut self, stored: &[Release]) -> Result<usize, Failed> {
        let spec = &self.object.spec;
        let test = settings::test(spec);
        let limit = settings::timeout(spec, test.timeout);
        let mut release = last(stored).ok_or_else(|| Failed::new("release: not found"))?.clone();
        let names = |exclude: bool| -> Vec<&str> {
            let filters = test.filters.iter().filter(|filter| filter.exclude == exclude);
            filters.map(|filter| filter.name.as_str()).collect()
        };
        let (excluded, included) = (names(true), names(false));
        let mut order = executing(&release, EVENT);
        order.retain(|at| {
            let name = release.hooks[*at].name.as_str();
            !excluded.contains(&name) && (included.is_empty() || included.contains(&name))
        });
        let count = order.len();
        let result = self.run_in_order(&mut release, order, EVENT, limit).await;
        self.store_anyway(&release).await;
        if result.as_ref().is_err_and(Failed::is_canceled) {
            return Err(result.expect_err("it was just looked at")); // it neither passed nor failed
        }
        if let Some(snapshot) = self.history.iter_mut().find(|known| known.is_of(&release)) {
            snapshot.set_tests(&release);
        }
        result.map(|()| count)
    }
}
