"""Beam search by a decoder and CTC together, for many streams at once."""

from typing import List

import torch
from torch import Tensor

from ume.decoding.ctc_prefix import CTCPrefixScorer, PrefixState
from ume.nn.whisper_decoder import MAX_TOKENS, AttentionDecoder

NEVER = -1e30  # score of a hypothesis that is none


@torch.no_grad()
def joint_search(
    decoder: AttentionDecoder,
    memory: Tensor,
    log_probs: Tensor,
    lens: Tensor,
    end: int,
    beam: int = 8,
    ctc_weight: float = 0.3,
) -> List[List[int]]:
    """The tokens of each stream, of highest ctc_weight * CTC + (1 - ctc_weight) * decoder.

    A hypothesis that has ended is compared with those that go on by the same sum of
    log-probabilities, which only falls with every token: as soon as none that goes on is above the
    best that has ended, that one is the answer, exact up to the beam.

    Args:
        decoder: its start and end token is ``end``; the CTC's blank is 0.
        memory: (N, F, D) what it attends to.
        log_probs: (N, F, V) the CTC's.
        lens: (N,) frames of both.
        beam: hypotheses kept per stream.
    """
    search = Search(decoder, memory, log_probs, lens, end, beam, ctc_weight)
    # as many tokens as frames, and the end; the decoder's positions end at MAX_TOKENS
    for _ in range(min(int(lens.max()) + 1, MAX_TOKENS)):
        if not len(search.streams):
            break
        search.step()
    return search.ended


class Search:
    """N streams with B hypotheses each, stream by stream; those that are done drop out."""

    def __init__(
        self,
        decoder: AttentionDecoder,
        memory: Tensor,
        log_probs: Tensor,
        lens: Tensor,
        end: int,
        beam: int,
        ctc_weight: float,
    ) -> None:
        self.decoder, self.end, self.beam, self.ctc_weight = decoder, end, beam, ctc_weight
        count = len(memory)
        self.streams = torch.arange(count, device=memory.device)  # (N',) that still go on
        rows = self.streams.repeat_interleave(beam)  # (N' * B,)
        self.state = decoder.start(memory, lens).keep(rows)
        self.ctc = CTCPrefixScorer(log_probs, lens)
        start = self.ctc.start()
        self.prefixes = PrefixState(start.by_token[rows], start.by_blank[rows])
        self.tokens = torch.full((len(rows), 1), end, device=memory.device)  # (N' * B, U + 1)
        self.heard = torch.full((count, beam), NEVER, dtype=torch.double, device=memory.device)
        self.heard[:, 0] = 0  # the decoder's score (N', B); at first there is one hypothesis
        self.totals = self.heard.clone()  # the decoder's and the CTC's
        self.best = torch.full((count,), NEVER, dtype=torch.double, device=memory.device)
        self.ended: List[List[int]] = [[] for _ in range(count)]

    def step(self) -> None:
        """End every hypothesis, and go on with the best ones that are a token longer."""
        logits = self.decoder(self.tokens[:, -1:], self.state)[:, -1]
        scores = logits.double().log_softmax(dim=1)  # (R, V), R = N' * B
        self.end_here(self.heard.flatten() + scores[:, self.end])
        scores[:, [0, self.end]] = NEVER
        said, tokens = scores.topk(min(2 * self.beam, scores.shape[1] - 2))  # (R, K)
        rows = self.streams.repeat_interleave(self.beam)
        last = self.tokens[:, -1].masked_fill(self.tokens[:, -1] == self.end, -1)
        begins, longer = self.ctc.extend(self.prefixes, rows, last, tokens)
        heard = self.heard.flatten()[:, None] + said
        totals = self.joined(heard, begins).view(len(self.streams), -1)  # (N', B * K)
        self.totals, chosen = totals.topk(self.beam)
        first = torch.arange(len(self.streams), device=chosen.device)[:, None] * totals.shape[1]
        flat = (chosen + first).flatten()  # of the R * K longer hypotheses
        parents = torch.div(flat, tokens.shape[1], rounding_mode="floor")
        self.heard = heard.flatten()[flat].view_as(self.totals)
        self.tokens = torch.cat([self.tokens[parents], tokens.flatten()[flat][:, None]], dim=1)
        self.prefixes = PrefixState(longer.by_token[flat], longer.by_blank[flat])
        self.state.text = self.state.keep_text(parents)
        self.drop_done()

    def joined(self, heard: Tensor, by_ctc: Tensor) -> Tensor:
        """The score of both; NEVER of what is no hypothesis, whatever the weights."""
        both = (1 - self.ctc_weight) * heard + self.ctc_weight * by_ctc
        return both.masked_fill(heard <= NEVER, NEVER)

    def end_here(self, heard: Tensor) -> None:
        """Take a stream's best hypothesis, ended with ``heard`` (R,), if it beats earlier ones."""
        totals = self.joined(heard, self.prefixes.whole()).view(len(self.streams), -1)
        best, index = totals.max(dim=1)
        better = best > self.best[self.streams]
        for place in better.nonzero().flatten().tolist():
            stream = int(self.streams[place])
            self.ended[stream] = self.tokens[place * self.beam + int(index[place]), 1:].tolist()
            self.best[stream] = best[place]

    def drop_done(self) -> None:
        """Streams in which nothing that goes on can win any more."""
        going = self.totals[:, 0] > self.best[self.streams]
        if bool(going.all()):
            return
        rows = going.repeat_interleave(self.beam)
        self.streams = self.streams[going]
        self.totals, self.heard, self.tokens = (
            self.totals[going],
            self.heard[going],
            self.tokens[rows],
        )
        self.prefixes = PrefixState(self.prefixes.by_token[rows], self.prefixes.by_blank[rows])
        self.state = self.state.keep(rows)
