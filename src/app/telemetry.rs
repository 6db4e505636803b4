//! Logs and metrics of the process.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};

/// Starts logging to standard error, as the configuration says.
///
/// # Errors
/// Where the filter is not valid, or logging was started before.
pub fn start_logs(telemetry: &Telemetry) -> Result<()> {
    let filter = EnvFilter::try_new(&telemetry.filter)
        .with_context(|| format!("telemetry.filter is not valid: {}", telemetry.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match telemetry.format {
        LogFormat::Pretty => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("logging can't be started: {e}"))
}

/// Starts counting, and returns what renders `/metrics`.
///
/// # Errors
/// Where counting was started before.
pub fn start_metrics() -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0])
        .context("the histogram buckets")?
        .install_recorder()
        .context("counting can't be started")
}
