//! A login node that wants a key and then a one-time code or a password: an SSH server in this process, since no real one asks
//! without PAM or an account of its own.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use russh::keys::PrivateKey;
use russh::server::{Auth, Config, Handler, Msg, Response, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{ChildStdin, Command};

/// What the double saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) answers: Vec<Vec<String>>,
}

struct Double {
    /// What it wants after the key.
    wants: &'static [MethodKind],
    seen: Arc<Mutex<Seen>>,
    stdins: HashMap<ChannelId, ChildStdin>,
}

/// Starts a double on a free port of 127.0.0.1, which wants one of these after a key; returns the port and what it will have seen.
pub(crate) async fn start(host_key: PrivateKey, wants: &'static [MethodKind]) -> (u16, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let config = Arc::new(Config {
        keys: vec![host_key],
        methods: MethodSet::from(&[&[MethodKind::PublicKey], wants].concat()[..]),
        auth_rejection_time: std::time::Duration::ZERO,
        nodelay: true,
        ..Config::default()
    });
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.lock().unwrap().connections += 1;
            let double = Double { wants, seen: Arc::clone(&shared), stdins: HashMap::new() };
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = run_stream(config, stream, double).await {
                    drop(session.await);
                }
            });
        }
    });
    (port, seen)
}

impl Handler for Double {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let then = MethodSet::from(self.wants);
        Ok(Auth::Reject { proceed_with_methods: Some(then), partial_success: true })
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        self.seen.lock().unwrap().answers.push(vec![password.to_owned()]);
        let then = MethodSet::from(self.wants);
        let wrong = Auth::Reject { proceed_with_methods: Some(then), partial_success: false };
        Ok(if password == "sesame" { Auth::Accept } else { wrong })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(response) = response else {
            return Ok(Auth::Partial {
                name: "Duo".into(),
                instructions: "Enter a passcode".into(),
                prompts: vec![("Password: ".into(), false), ("Passcode: ".into(), true)].into(),
            });
        };
        let answers: Vec<String> = response.map(|answer| String::from_utf8_lossy(&answer).into_owned()).collect();
        let right = answers == ["secret", "123456"];
        self.seen.lock().unwrap().answers.push(answers);
        let then = MethodSet::from(self.wants);
        let wrong = Auth::Reject { proceed_with_methods: Some(then), partial_success: false };
        Ok(if right { Auth::Accept } else { wrong })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(String::from_utf8_lossy(command).as_ref())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        session.channel_success(id)?;
        self.stdins.insert(id, child.stdin.take().unwrap());
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let handle = session.handle();
        tokio::spawn(async move {
            let out = async {
                let mut bytes = vec![0; 16 * 1024];
                while let Ok(length @ 1..) = stdout.read(&mut bytes).await {
                    drop(handle.data(id, bytes[..length].to_vec()).await);
                }
            };
            let err = async {
                let mut bytes = vec![0; 16 * 1024];
                while let Ok(length @ 1..) = stderr.read(&mut bytes).await {
                    drop(handle.extended_data(id, 1, bytes[..length].to_vec()).await);
                }
            };
            tokio::join!(out, err);
            let code = child.wait().await.ok().and_then(|status| status.code()).unwrap_or(255);
            let told = handle.exit_status_request(id, u32::try_from(code).unwrap()).await;
            // A client that has gone hears nothing.
            if told.is_ok() {
                handle.close(id).await.ok();
            }
        });
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, bytes: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        if let Some(stdin) = self.stdins.get_mut(&id) {
            drop(stdin.write_all(bytes).await);
            drop(stdin.flush().await);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.stdins.remove(&id);
        Ok(())
    }
}
