//! Listening, and stopping without cutting anybody off.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `router` until `stop`; then takes no new connection and lets requests in flight end
/// within `grace`.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    grace: Duration,
) -> std::io::Result<()> {
    let stopping = stop.clone();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopping.cancelled().await });
    let server = std::future::IntoFuture::into_future(server);
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        done = server => done,
        () = deadline => {
            tracing::warn!("some requests did not end in time and were cut off");
            Ok(())
        }
    }
}
