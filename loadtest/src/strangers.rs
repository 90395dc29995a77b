//! Connections that never get anywhere: mute, garbage, slow. Each is held until the other side ends it.

use std::net::SocketAddr;
use std::time::Instant;

use aws_lc_rs::rand;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

use crate::{Failure, connect, seconds};

#[derive(clap::Args)]
pub struct Options {
    target: SocketAddr,
    #[arg(long, default_value_t = 1_000)]
    sockets: u32,
    /// Those still open then are closed from here.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[derive(Clone, Copy)]
pub enum Manner {
    Mute,
    Garbage,
    Slow,
}

/// How one socket's story went.
enum End {
    Answered,
    Closed,
    Outlasted,
    Unconnected,
}

pub async fn run(options: Options, manner: Manner) -> Result<(), Failure> {
    let began = Instant::now();
    let sockets: Vec<_> = (0..options.sockets)
        .map(|nth| monoio::spawn(one(options.target, nth, manner, options.seconds)))
        .collect();
    println!("{} sockets started", sockets.len());
    let (mut answered, mut closed, mut outlasted, mut unconnected) = (0, 0, 0, 0);
    for socket in sockets {
        match socket.await {
            End::Answered => answered += 1,
            End::Closed => closed += 1,
            End::Outlasted => outlasted += 1,
            End::Unconnected => unconnected += 1,
        }
    }
    println!(
        "{answered} answered and closed, {closed} closed silently, {outlasted} still open, {unconnected} not connected, \
         in {:.1?}",
        began.elapsed()
    );
    Ok(())
}

async fn one(target: SocketAddr, nth: u32, manner: Manner, most: u64) -> End {
    let Ok(stream) = connect(target, nth).await else {
        return End::Unconnected;
    };
    let outlasted = monoio::time::sleep(seconds(most));
    monoio::select! {
        end = behave(stream, manner) => end,
        () = outlasted => End::Outlasted,
    }
}

async fn behave(mut stream: TcpStream, manner: Manner) -> End {
    match manner {
        Manner::Mute => {}
        Manner::Garbage => {
            let mut bytes = vec![0; 512];
            if rand::fill(&mut bytes).is_err() || stream.write_all(bytes).await.0.is_err() {
                return End::Closed;
            }
        }
        Manner::Slow => {
            // A start-up message of 1,000 bytes that will never be whole.
            for byte in [0, 0, 3, 232, 0, 3, 0, 0]
                .into_iter()
                .chain(std::iter::repeat_n(b'x', 900))
            {
                if stream.write_all(vec![byte]).await.0.is_err() {
                    return End::Closed;
                }
                monoio::time::sleep(seconds(1)).await;
            }
        }
    }
    if stream.readable(false).await.is_err() {
        return End::Closed;
    }
    match stream.read(Vec::with_capacity(256)).await {
        (Ok(read), _) if read > 0 => End::Answered,
        (Ok(_) | Err(_), _) => End::Closed,
    }
}
