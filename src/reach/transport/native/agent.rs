//! What an agent holds, and how it is talked to.

use std::io;

use russh::keys::Certificate;
use russh::keys::agent::AgentIdentity;
use russh::keys::key::parse_public_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The request for what it holds, and the answer.
pub(in crate::reach::transport) const REQUEST: u8 = 11;
pub(in crate::reach::transport) const ANSWER: u8 = 12;
/// Longest answer, as OpenSSH has it.
const LONGEST: u32 = 256 << 10;
/// How the name of a certificate's kind ends.
const CERTIFICATE: &[u8] = b"-cert-v01@openssh.com";

/// Returns what an agent holds of kinds that are known here. One of another kind hides none of the others.
pub(super) async fn held(socket: &str) -> Vec<AgentIdentity> {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        answered(&mut stream, &[REQUEST]).await
    };
    match ask.await {
        Ok(answer) => identities(&answer),
        Err(error) => {
            tracing::debug!(%error, "the agent does not say what it holds");
            Vec::new()
        }
    }
}

/// Asks an agent something; returns its answer.
pub(in crate::reach::transport) async fn answered(stream: &mut UnixStream, message: &[u8]) -> io::Result<Vec<u8>> {
    say(stream, message).await?;
    heard(stream).await
}

/// Sends a message.
pub(in crate::reach::transport) async fn say(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    // In one piece, so that nobody waits for the second.
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// Returns the next message.
pub(in crate::reach::transport) async fn heard(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn identities(answer: &[u8]) -> Vec<AgentIdentity> {
    let entry = |(blob, comment): (&[u8], &[u8])| identity(blob, String::from_utf8_lossy(comment).into_owned());
    entries(answer).into_iter().filter_map(entry).collect()
}

/// Returns the keys of an agent's answer, each with its comment.
pub(in crate::reach::transport) fn entries(answer: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    let Some((&ANSWER, rest)) = answer.split_first() else { return found };
    let Some((count, mut rest)) = number(rest) else { return found };
    for _ in 0..count {
        let Some((blob, after)) = text(rest) else { break };
        let Some((comment, after)) = text(after) else { break };
        rest = after;
        found.push((blob, comment));
    }
    found
}

fn identity(blob: &[u8], comment: String) -> Option<AgentIdentity> {
    let (kind, _) = text(blob)?;
    if kind.ends_with(CERTIFICATE) {
        let certificate = Certificate::from_bytes(blob).ok()?;
        return Some(AgentIdentity::Certificate { certificate, comment });
    }
    Some(AgentIdentity::PublicKey { key: parse_public_key(blob).ok()?, comment })
}

/// Takes a number from the front.
pub(in crate::reach::transport) fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Takes bytes of a length that stands before them from the front.
pub(in crate::reach::transport) fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes)?;
    rest.split_at_checked(length as usize)
}

#[cfg(test)]
mod tests {
    use russh::keys::Algorithm;

    use super::*;

    fn put(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn key(kind: &str, rest: &[u8]) -> Vec<u8> {
        put(&[put(kind.as_bytes()), rest.to_vec()].concat())
    }

    #[test]
    fn a_key_of_a_kind_that_is_not_known_hides_none_of_the_others() {
        let point = put(&[7; 32]);
        let keys = [
            key("ssh-tomorrow", &point),
            key("ssh-ed25519", &point),
            key("ssh-tomorrow-cert-v01@openssh.com", &point),
            key("sk-ssh-ed25519@openssh.com", &[point.clone(), put(b"ssh:")].concat()),
        ];
        let mut answer = vec![ANSWER, 0, 0, 0, 4];
        for key in &keys {
            answer.extend([key.clone(), put(b"comment")].concat());
        }
        let kinds = |answer: &[u8]| -> Vec<Algorithm> {
            identities(answer).iter().map(|identity| identity.public_key().algorithm()).collect()
        };
        assert_eq!(kinds(&answer), [Algorithm::Ed25519, Algorithm::SkEd25519]);
        assert_eq!(kinds(&answer[..answer.len() - 1]), [Algorithm::Ed25519], "cut off");
        assert!(kinds(&[5]).is_empty() && kinds(&[]).is_empty(), "it declined");
    }
}
