//! A runtime of its own for servers that outlive the test that started them.

use tokio::runtime::{Handle, Runtime};

/// One worker thread. A server shared between tests would end with the runtime of the test that happened to be first.
#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start(name: &str) -> std::io::Result<Background> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()?;
        Ok(Background(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken only by drop").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping it here would block, which is not allowed inside the runtime of a test.
            runtime.shutdown_background();
        }
    }
}
