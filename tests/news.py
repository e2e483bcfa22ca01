"""A small file in the format of OnlineNewsPopularity.csv."""

NEWS_NUMBERS = ["timedelta", "n_tokens_title", "rate"]
CHANNELS = ["lifestyle", "entertainment", "bus", "socmed", "tech", "world"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def news_file(path, n=80):
    """A file laid out like the real one.

    A url, names after ', ', one-hot groups as 0.0 and 1.0, some articles without a channel.
    """
    names = [
        "url",
        *NEWS_NUMBERS,
        *(f"data_channel_is_{c}" for c in CHANNELS),
        *(f"weekday_is_{d}" for d in DAYS),
        "is_weekend",
        "shares",
    ]
    lines = [", ".join(names)]
    for i in range(n):
        channel = [1.0 * (i % 7 == j) for j in range(6)]
        day = [1.0 * (i % 7 == j) for j in range(7)]
        cells = [
            f"http://x.com/{i}/",
            731.0 - i,
            12.0,
            i / n,
            *channel,
            *day,
            1.0 * (i % 7 > 4),
            100 + i,
        ]
        lines.append(", ".join(map(str, cells)))
    path.write_text("\n".join(lines) + "\n")
    return path
