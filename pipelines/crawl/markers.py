"""What an element's tag, role, class and id say about its content: words of web design that are the same everywhere."""

import re
from functools import lru_cache

# Of navigation, buttons to share, other articles, advertisements, dialogs and appeals, the author, facts about the
# article, comments, the frame around every page, side bars, text for screen readers, what is not shown at first,
# captions, galleries, headers, the content (two grades), controls, and words that mean several of these.
(
    NAVIGATION,
    SHARE,
    RELATED,
    ADVERT,
    NOTICE,
    AUTHOR,
    META,
    COMMENT,
    FRAME,
    SIDE,
    HIDDEN,
    UNSEEN,
    CAPTION,
    MEDIA,
    HEADER,
    CONTENT,
    BODY,
    CONTROL,
    TEASER,
) = (1 << bit for bit in range(19))

MAX_ID = 25
"""Characters of an id that is read: documentation makes ids of headings, as in `sharing-with-a-single-developer`
(all ids: thousandths of F1 on four gold sets 0, -2, -1, -1)."""
_MAX_NAME, _MAX_NAMES = 100, 20

# Words whose boxes, inside the gold root of 1,780 pages, held other text than the gold on at least three pages of four;
# the looser ones are under TEASER. Two words are looked up together, too: `post-meta` is `postmeta`.
_WORDS = {
    NAVIGATION: "nav navi navs navbar navigation navlinks navmenu subnav topnav menu menus submenu menubar menuitem "
    "breadcrumb breadcrumbs crumbs crumb pagination paginator pager paging pagenav skiplink skiplinks "
    "dropdown nextprev prevnext sidenav sidemenu flyout",
    SHARE: "share shares sharing sharebar sharethis sharedaddy sharebuttons social socialicon sociallinks "
    "addthis addtoany follow followus like likes reactions whatsapp telegram linkedin pinterest facebook "
    "jetpack",
    RELATED: "related relateds relatedposts relatedarticles recommended recommends recommendation recommender "
    "trending morestories morearticles morenews moreposts readmore readnext readalso alsoread similar "
    "suggestion suggestions outbrain taboola recirc recirculation nextarticle yarpp",
    ADVERT: "advert adverts advertisement advertising advertorial adbox adwrapper adcontainer adslot adunit "
    "adsense sponsored sponsor dfp",
    NOTICE: "newsletter newsletters subscribe signup cookie cookies consent gdpr onetrust modal popup popover "
    "dialog toast overlay lightbox login signin register donate donation cta ctas appbanner appdownload",
    AUTHOR: "authorbox authorbio authorinfo authorcard authorname author byline signature",
    META: "postmeta postinfo postdate postfooter entrymeta entryfooter entryutility articleinfo articlefooter "
    "meta metadata articledate timestamp datetime dateline pubdate postedon tags tagcloud taglinks "
    "posttags date toolbar toolbox actions action editsection readtime readingtime print userinfo "
    "userdetails usertitle",
    COMMENT: "comments commentform commentlist respond disqus replies feedback nocomments",
    FRAME: "footer pagefooter sitefooter colophon copyright siteheader topbar headerbar searchbox searchform "
    "searchbar langswitcher legal disclaimer",
    CONTROL: "button buttons btn form formgroup filter filters cart addtocart checkbox badge loading",
    SIDE: "sidebar sidebars sidecol sidecolumn rightrail rightcol rightcolumn rightside leftrail widgetarea",
    HIDDEN: "sronly visuallyhidden screenreader screenreadertext offscreen nodisplay nocontent",
    CAPTION: "caption wpcaptiontext imagecaption imagecredit photocaption photocredit credit credits mediacaption "
    "elementcaption",
    MEDIA: "gallery carousel slideshow slider slick swiper video player videos",
    TEASER: "banner banners promo promos popular mostread mostpopular teaser teasers ad ads bio authors "
    "contributor categories keywords rating ratings comment reply subscription masthead pageheader header",
    CONTENT: "articlecontent articlebody articletext articlecopy postcontent postbody posttext entrycontent "
    "entrybody entrytext storycontent storybody storytext blogcontent pagecontent maincontent maintext "
    "bodycontent bodytext bodycopy newscontent newsbody newstext singlecontent singlepost contentbody "
    "contentmain contenttext contentarticle contentarea contentinner fulltext prose markdownbody richtext "
    "fieldbody parseroutput",
}
# Words that say so only when they are the whole name: "overflow-hidden" and "elementor-widget" are layout.
_WHOLE = {
    "hidden": UNSEEN,
    "is-hidden": UNSEEN,
    "hide": UNSEEN,
    "d-none": UNSEEN,
    "noprint": UNSEEN,
    "no-print": UNSEEN,
    "invisible": UNSEEN,
    "widget": SIDE,
    "widgets": SIDE,
    "aside": SIDE,
    "rail": SIDE,
    "comment": COMMENT,
}
_NEGATED = frozenset(["no", "has", "with", "without", "hide", "is"])
_MARK_OF = {word: mark for mark, words in reversed(_WORDS.items()) for word in words.split()}
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ATTRIBUTE = re.compile(r' (class|id|role|itemprop|style|hidden|aria-hidden)="([^"]*)"')
_NOT_SHOWN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
TAG_MARKS = {
    "nav": NAVIGATION,
    "menu": NAVIGATION,
    "footer": FRAME,
    "aside": SIDE,
    "figcaption": CAPTION,
    "header": HEADER,
    "form": CONTROL,
    "fieldset": CONTROL,
    "legend": CONTROL,
    "address": AUTHOR,
    "noscript": HIDDEN,
}
_ROLES = {
    "navigation": NAVIGATION,
    "menu": NAVIGATION,
    "menubar": NAVIGATION,
    "banner": FRAME,
    "contentinfo": FRAME,
    "search": FRAME,
    "complementary": SIDE,
    "dialog": NOTICE,
    "alertdialog": NOTICE,
    "toolbar": META,
    "main": CONTENT,
    "tablist": NAVIGATION,
}
_ITEMS = {
    "articleBody": BODY,
    "text": CONTENT,
    "author": AUTHOR,
    "datePublished": META,
    "dateModified": META,
    "keywords": META,
    "comment": COMMENT,
}


@lru_cache(maxsize=1 << 15)
def _marks_of_name(name: str) -> int:
    """Marks of one class or id: of its words, and of two neighbours written together; none for `no-sidebar`."""
    lower, parts = name.lower(), _PARTS.findall(name[:_MAX_NAME])
    marks = _WHOLE.get(lower, 0)
    if lower != name:
        parts = [part.lower() for part in parts]
    if parts and parts[0] in _NEGATED:
        return marks
    mark_of, before = _MARK_OF.get, ""
    for part in parts:
        marks |= mark_of(part, 0) | mark_of(before + part, 0)
        before = part
    return marks


@lru_cache(maxsize=1 << 13)
def marks_of(tag: str, attributes: str) -> int:
    """Marks of one element: a sum of the constants of this module."""
    marks = TAG_MARKS.get(tag, 0)
    if not attributes:
        return marks
    for name, value in _ATTRIBUTE.findall(attributes):
        if name == "id":
            if len(value) <= MAX_ID:
                marks |= _marks_of_name(value)
        elif name == "class":
            for word in value.split()[:_MAX_NAMES]:
                marks |= _marks_of_name(word)
        elif name == "role":
            marks |= _ROLES.get(value, 0)
        elif name == "style":
            if "n" in value and _NOT_SHOWN.search(value):
                marks |= UNSEEN
        elif name == "itemprop":
            marks |= _ITEMS.get(value, 0)
        elif name == "hidden" or value == "true":
            marks |= UNSEEN
    return marks
