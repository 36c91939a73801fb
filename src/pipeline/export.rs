//! [`Export`]: what tells others of a run and is no part of it: the exporter of OpenTelemetry, and
//! the lines about what the log left out. Neither holds anything up, and neither ends a run.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::shown::Stage;
use crate::config::Config;
use crate::delivery::Tracing;
use crate::failure::chain;
use crate::otlp::Exporter;
use crate::telemetry;

/// Between two looks at what the log left out.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Export {
    tasks: JoinSet<()>,
    tracing: Option<Tracing>,
}

impl Export {
    /// Begins to export what `stage` shows, until `stop`.
    pub(super) fn start(config: &Config, stage: &Arc<Stage>, stop: &CancellationToken) -> Self {
        let mut export = Self::default();
        export.tasks.spawn(log(stop.clone()));
        let Some(otlp) = &config.otlp else { return export };
        match Exporter::new(config, otlp, Arc::clone(stage) as _, stage.losses()) {
            Ok((exporter, tracing)) => {
                export.tracing = tracing;
                export.tasks.spawn(exporter.run(stop.clone()));
            }
            // What it names was there when the config was read.
            Err(error) => {
                tracing::error!(error = chain(&error), "nothing is exported by OTLP");
            }
        }
        export
    }

    /// Returns where requests to sinks become spans; none: nobody wants them.
    pub(super) const fn tracing(&self) -> Option<&Tracing> {
        self.tracing.as_ref()
    }

    /// Waits until the last has been exported, or can't be.
    pub(super) async fn ended(mut self) {
        drop(self.tracing.take());
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn log(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(LOG_EVERY)).await.is_some() {
        telemetry::tell_left_out();
    }
}
