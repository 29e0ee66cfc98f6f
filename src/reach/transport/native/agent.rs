//! What an agent holds.

use russh::keys::Certificate;
use russh::keys::agent::AgentIdentity;
use russh::keys::key::parse_public_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The request for what it holds, and the answer.
const REQUEST: u8 = 11;
const ANSWER: u8 = 12;
/// Longest answer, as OpenSSH has it.
const LONGEST: u32 = 256 << 10;
/// How the name of a certificate's kind ends.
const CERTIFICATE: &[u8] = b"-cert-v01@openssh.com";

/// Returns what an agent holds of kinds that are known here. One of another kind hides none of the others.
pub(super) async fn held(socket: &str) -> Vec<AgentIdentity> {
    let ask = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&[0, 0, 0, 1, REQUEST]).await?;
        let length = stream.read_u32().await?;
        let mut answer = Vec::new();
        stream.take(u64::from(length.min(LONGEST))).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match ask.await {
        Ok(answer) => identities(&answer),
        Err(error) => {
            tracing::debug!(%error, "the agent does not say what it holds");
            Vec::new()
        }
    }
}

fn identities(answer: &[u8]) -> Vec<AgentIdentity> {
    let mut found = Vec::new();
    let Some((&ANSWER, rest)) = answer.split_first() else { return found };
    let Some((count, mut rest)) = number(rest) else { return found };
    for _ in 0..count {
        let Some((blob, after)) = text(rest) else { break };
        let Some((comment, after)) = text(after) else { break };
        rest = after;
        found.extend(identity(blob, String::from_utf8_lossy(comment).into_owned()));
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

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
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
