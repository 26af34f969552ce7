//! The two ends of a connection, its two directions, and the ways it can be cut.

use std::ops::{Index, IndexMut};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

impl Side {
    /// Both, for loops.
    pub const BOTH: [Side; 2] = [Side::Client, Side::Server];

    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// The direction that this end writes into.
    #[must_use]
    pub fn sends(self) -> Direction {
        match self {
            Side::Client => Direction::ToServer,
            Side::Server => Direction::ToClient,
        }
    }

    /// The direction that this end reads from.
    #[must_use]
    pub fn receives(self) -> Direction {
        self.other().sends()
    }
}

/// One of the two byte streams of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Written by the client, read by the server.
    ToServer,
    /// Written by the server, read by the client.
    ToClient,
}

impl Direction {
    /// Both, for loops.
    pub const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

    /// The other direction.
    #[must_use]
    pub fn other(self) -> Self {
        self.receiver().sends()
    }

    /// The end that writes into it.
    #[must_use]
    pub fn sender(self) -> Side {
        match self {
            Direction::ToServer => Side::Client,
            Direction::ToClient => Side::Server,
        }
    }

    /// The end that reads from it.
    #[must_use]
    pub fn receiver(self) -> Side {
        self.sender().other()
    }
}

/// Who learns that the connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cut {
    /// Both ends see the end.
    #[default]
    Both,
    /// Half-open: `blind` sees nothing at all. Nothing arrives there any more, and what it writes is taken
    /// until its buffer is full, and vanishes. The other end sees the end.
    HalfOpen {
        /// The end that is not told.
        blind: Side,
    },
    /// Neither is told, as when a cable is pulled: both are blind.
    Silent,
}

impl Cut {
    /// Each of the four, for loops.
    pub const ALL: [Cut; 4] = [
        Cut::Both,
        Cut::HalfOpen { blind: Side::Client },
        Cut::HalfOpen { blind: Side::Server },
        Cut::Silent,
    ];

    /// Whether this end sees the end.
    #[must_use]
    pub fn tells(self, side: Side) -> bool {
        match self {
            Cut::Both => true,
            Cut::HalfOpen { blind } => side != blind,
            Cut::Silent => false,
        }
    }
}

/// One value for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PerDirection<T> {
    /// Of what the client writes.
    pub to_server: T,
    /// Of what the server writes.
    pub to_client: T,
}

impl<T> Index<Direction> for PerDirection<T> {
    type Output = T;

    fn index(&self, direction: Direction) -> &T {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

impl<T> IndexMut<Direction> for PerDirection<T> {
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}
