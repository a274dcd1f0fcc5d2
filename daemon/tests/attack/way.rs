//! The list of ways to be hostile; every one is taken equally often.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    SaysNothing,
    LeavesHalfALine,
    SendsLongLines,
    SendsWhatIsNoMessage,
    SendsOddValues,
    FloodsAndReads,
    FloodsAndDoesNotRead,
    WatchesAndDoesNotRead,
    StealsRequests,
    GuessesTokens,
    AsksForTooMuch,
    ComesAndGoes,
}

/// All of them.
pub(super) const WAYS: [Way; 12] = [
    Way::SaysNothing,
    Way::LeavesHalfALine,
    Way::SendsLongLines,
    Way::SendsWhatIsNoMessage,
    Way::SendsOddValues,
    Way::FloodsAndReads,
    Way::FloodsAndDoesNotRead,
    Way::WatchesAndDoesNotRead,
    Way::StealsRequests,
    Way::GuessesTokens,
    Way::AsksForTooMuch,
    Way::ComesAndGoes,
];
