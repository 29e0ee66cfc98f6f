//! The stream of messages. Its end waits until all that was asked is answered: the SDK itself gives that five seconds, and a
//! submission on a busy machine may take longer.

use std::collections::HashSet;
use std::io;

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::cli::mcp::PATIENCE;

/// Longest message; the SDK drops a longer one and goes on.
const LONGEST: usize = 4 << 20;

/// Messages, one a line.
pub(super) struct Stream<R: AsyncRead, W: AsyncWrite> {
    lines: AsyncRwTransport<RoleServer, R, W>,
    /// What was asked and not answered yet.
    open: watch::Sender<HashSet<RequestId>>,
}

impl<R, W> Stream<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    /// Makes one.
    pub(super) fn new(input: R, output: W) -> Self {
        let lines = AsyncRwTransport::new_server(input, output).with_max_line_length(LONGEST);
        Self { lines, open: watch::Sender::new(HashSet::new()) }
    }
}

/// Waits until nothing is open, as long as answers come.
async fn answered(mut open: watch::Receiver<HashSet<RequestId>>) {
    // A command has its time; what is not answered then never is.
    while !open.borrow_and_update().is_empty() && tokio::time::timeout(2 * PATIENCE, open.changed()).await.is_ok() {}
}

impl<R, W> Transport<RoleServer> for Stream<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let answers = match &item {
            JsonRpcMessage::Response(answer) => Some(answer.id.clone()),
            JsonRpcMessage::Error(error) => error.id.clone(),
            _ => None,
        };
        let open = self.open.clone();
        let sending = self.lines.send(item);
        async move {
            let sent = sending.await;
            if let Some(id) = answers {
                open.send_modify(|open| drop(open.take(&id)));
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let message = self.lines.receive().await;
        match &message {
            None => answered(self.open.subscribe()).await,
            Some(JsonRpcMessage::Request(asked)) => self.open.send_modify(|open| drop(open.replace(asked.id.clone()))),
            Some(JsonRpcMessage::Notification(said)) => {
                // What is taken back is not answered.
                if let ClientNotification::CancelledNotification(cancelled) = &said.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.open.send_modify(|open| drop(open.take(id)));
                }
            }
            Some(_) => {}
        }
        message
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.lines.close().await
    }
}
