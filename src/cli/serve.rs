//! `cameo serve`.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Overrides, telemetry};
use crate::config::Config;

/// Serve the API until Ctrl-C.
#[derive(Debug, Args)]
pub struct Serve {
    /// Listen here instead of where the configuration says
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

impl Serve {
    /// Serves.
    ///
    /// # Errors
    /// One line that says what is missing.
    #[allow(clippy::print_stdout)] // the first admin key is shown once, and only here
    pub fn run(self, mut config: Config) -> Result<ExitCode> {
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        tracing::info!("configuration: {}", config.redacted());
        super::runtime()?.block_on(async {
            let address = config.server.listen;
            let metrics = telemetry::start_metrics()?;
            let app = App::build(config, metrics, Overrides::default()).await?;
            if let Some(key) = app.services().bootstrap().await? {
                println!("First start. The admin key, shown this once:\n\n  {}\n", key.expose());
                println!("Make keys for your app with `cameo keys create --role app --name NAME`.");
            }
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("can't listen on {address}"))?;
            tracing::info!("listening on http://{}", listener.local_addr()?);
            let stop = CancellationToken::new();
            let stopping = stop.clone();
            tokio::spawn(async move {
                app::interrupted().await;
                tracing::info!("stopping: work in flight ends first");
                stopping.cancel();
            });
            app.run(listener, stop).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
