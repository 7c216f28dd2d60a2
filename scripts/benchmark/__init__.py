"""The relay's benchmark: `scripts/bench`.

One run puts the same mock backend and the same load behind every contender and
prints ratios. Files are either the bench itself (cells, contenders, bars,
report …) or a program that it starts (mock, passthrough, load, streams, canned,
idlers, spinner). Nothing here is imported by the product.
"""
